/* logfile.c - the number stays, the file behind it changes. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proc/logfile.h"

static int open_file(const char *path)
{
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, flags, 0640);

    return fd >= 0 ? fd : -errno;
}

int logfile_open(const char *path, const struct user *user)
{
    int fd = open_file(path);

    if (fd >= 0)
        user_own(user, path);
    return fd;
}

int logfile_reopen(int fd, const char *path)
{
    int fresh = open_file(path);
    int err;

    if (fresh < 0)
        return fresh;
    err = dup3(fresh, fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fresh);
    return err;
}
