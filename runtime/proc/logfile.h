/* logfile.h - the file that log lines go to, when it is a file. */
#ifndef SD_PROC_LOGFILE_H
#define SD_PROC_LOGFILE_H

#include "proc/user.h"

/* Open for appending, made to belong to `user` so that children can reopen
 * it.  The descriptor (close-on-exec) or -errno. */
int logfile_open(const char *path, const struct user *user);

/* The file was moved away: make `fd` a new one of that name.  0 or -errno,
 * then `fd` is as it was. */
int logfile_reopen(int fd, const char *path);

#endif
