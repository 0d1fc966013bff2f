/* pidfile.h - one node a folder: run/sdlua.pid, locked while its master
 * lives. */
#ifndef SD_PROC_PIDFILE_H
#define SD_PROC_PIDFILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "proc/user.h"

/* Create or take over the file as `user`, lock it and write our pid.  The
 * descriptor, which holds the lock; SD_EBUSY when another process has it, or
 * -errno.  *stale says that a file was there without its process: the last
 * master did not end in order. */
int pidfile_open(const char *path, const struct user *user, bool *stale);

/* Unlink, then unlock. */
void pidfile_close(int fd, const char *path, const struct user *user);

/* Who holds the lock: its pid, or 0 when nobody does. */
pid_t pidfile_owner(const char *path);

#endif
