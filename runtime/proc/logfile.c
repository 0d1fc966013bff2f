/* logfile.c - the number stays, the file behind it changes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/logfile.h"

/* Not to wait for a reader of a pipe; a log's lines are dropped then. */
static int open_file(const char *path)
{
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW |
                O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags, 0640);

    return fd >= 0 ? fd : -errno;
}

/* As root, and give the file to `user`, who will reopen it. */
static int open_for(const char *path, const struct user *user)
{
    int fd = open_file(path), err;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return fd;
    if (fchown(fd, user->uid, user->gid) == 0)
        return fd;
    err = -errno;
    close(fd);
    return err;
}

int logfile_open(const char *path, const struct user *user, bool trusted)
{
    int fd;

    if (user == NULL)
        return open_file(path);
    user_enter(user);
    fd = open_file(path);
    user_leave(user);
    if (fd == -EACCES && trusted && user->change)
        fd = open_for(path, user);
    return fd;
}

int logfile_reopen(int fd, const char *path, const struct user *user,
                   bool trusted)
{
    int fresh = logfile_open(path, user, trusted);
    int err;

    if (fresh < 0)
        return fresh;
    err = dup3(fresh, fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fresh);
    return err;
}
