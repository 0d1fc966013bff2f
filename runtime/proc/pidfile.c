/* pidfile.c - the lock is the truth, the number inside is for people.
 *
 * A POSIX record lock ends with its process, however that died, and F_GETLK
 * names the holder, so no stale number is ever believed.  Such a lock is also
 * lost when *any* descriptor of the file is closed in the same process:
 * pidfile_owner() is for other processes than the master. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/pidfile.h"

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* Is `path` still the file that `fd` has open?  Not, when the last master
 * unlinked it between our open and our lock. */
static bool is_same_file(int fd, const char *path)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

static int lock_once(const char *path, bool *stale)
{
    struct flock lock = whole_file();
    struct stat st;
    int fd, err;

    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return -errno;
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        err = errno == EACCES || errno == EAGAIN ? SD_EBUSY : -errno;
        close(fd);
        return err;
    }
    if (!is_same_file(fd, path)) {
        close(fd);
        return SD_EAGAIN;
    }
    *stale = fstat(fd, &st) == 0 && st.st_size > 0;
    return fd;
}

int pidfile_open(const char *path, const struct user *user, bool *stale)
{
    char text[16];
    int fd, n;

    user_enter(user);
    do
        fd = lock_once(path, stale);
    while (fd == SD_EAGAIN);
    user_leave(user);
    if (fd < 0)
        return fd;
    n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || write(fd, text, (size_t)n) != n) {
        int err = -errno;

        pidfile_close(fd, path, user);
        return err;
    }
    return fd;
}

void pidfile_close(int fd, const char *path, const struct user *user)
{
    if (fd < 0)
        return;
    user_enter(user);
    unlink(path);
    user_leave(user);
    close(fd);
}

pid_t pidfile_owner(const char *path)
{
    struct flock lock = whole_file();
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    pid_t pid = 0;

    if (fd < 0)
        return 0;
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        pid = lock.l_pid;
    close(fd);
    return pid;
}
