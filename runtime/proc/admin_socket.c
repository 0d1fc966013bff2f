/* admin_socket.c - see admin_socket.h.
 *
 * A file in the way of a unix socket is removed when it is a socket that
 * nobody listens at, which is what a killed master leaves; anything else in
 * that place is somebody's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "net/listener.h"
#include "proc/admin_socket.h"

enum {
    BACKLOG = 128
};

static const char scheme[] = "unix:";

static const char *unix_path(const char *listen)
{
    size_t n = sizeof(scheme) - 1;

    return strncmp(listen, scheme, n) == 0 ? listen + n : NULL;
}

/* Is it a socket at which nobody answers? */
static bool is_stale(const struct sockaddr_un *a)
{
    struct stat st;
    int fd;
    bool stale;

    if (lstat(a->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    stale = connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 &&
            errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int bind_private(int fd, const struct sockaddr_un *a,
                        const struct user *user)
{
    mode_t mask;
    int err;

    user_enter(user);
    if (is_stale(a))
        unlink(a->sun_path);
    mask = umask(0177);
    err = bind(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 ? -errno : 0;
    umask(mask);
    user_leave(user);
    return err;
}

static int open_unix(const char *path, const struct user *user)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd, err;

    if (strlen(path) >= sizeof(a.sun_path))
        return -ENAMETOOLONG;
    memcpy(a.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    err = bind_private(fd, &a, user);
    if (err == 0 && listen(fd, BACKLOG) < 0)
        err = -errno;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

int admin_socket_open(char *address, const char *listen,
                      const struct user *user, char *why, size_t size)
{
    const char *path = unix_path(listen);
    int fd, err;

    if (path == NULL) {
        err = listener_open(&fd, 1, listen, address, why, size);
        return err < 0 ? err : fd;
    }
    fd = open_unix(path, user);
    if (fd >= 0)
        snprintf(address, ADMIN_ADDRESS, "%s%s", scheme, path);
    else if (fd == -EADDRINUSE)
        snprintf(why, size, "%s is taken", listen);
    else
        snprintf(why, size, "cannot listen on %s: %s", listen, err_str(fd));
    return fd;
}

bool admin_socket_is_unix(const char *listen)
{
    return unix_path(listen) != NULL;
}

void admin_socket_close(int fd, const char *address, const struct user *user)
{
    const char *path = unix_path(address);

    if (fd < 0)
        return;
    close(fd);
    if (path == NULL)
        return;
    user_enter(user);
    unlink(path);
    user_leave(user);
}
