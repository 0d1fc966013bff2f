/* logfile.h - the file that log lines go to, when it is a file. */
#ifndef SD_PROC_LOGFILE_H
#define SD_PROC_LOGFILE_H

#include <stdbool.h>

#include "proc/user.h"

/* Open for appending as `user` (NULL: as who we are).  `trusted`: root named
 * the path, so where the user may not write, root makes the file for it.  The
 * descriptor (close-on-exec) or -errno. */
int logfile_open(const char *path, const struct user *user, bool trusted);

/* The file was moved away: make `fd` a new one of that name.  0 or -errno,
 * then `fd` is as it was. */
int logfile_reopen(int fd, const char *path, const struct user *user,
                   bool trusted);

#endif
