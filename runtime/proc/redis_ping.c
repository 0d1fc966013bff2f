/* redis_ping.c - one question, one connection.
 *
 * Connecting to a Unix socket ends at once, either way, and an answer is so
 * short that it comes whole. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proc/redis_ping.h"

void redis_ping_close(struct redis_ping *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static void ask(struct redis_ping *p, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0)
        return;
    if (connect(p->fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        send(p->fd, "PING\r\n", 6, MSG_NOSIGNAL) != 6)
        redis_ping_close(p);
}

enum redis_answer redis_ping_step(struct redis_ping *p, const char *path)
{
    char text[64];
    ssize_t n;

    if (p->fd < 0)
        ask(p, path);
    if (p->fd < 0)
        return REDIS_SILENT;
    n = recv(p->fd, text, sizeof(text), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return REDIS_SILENT;
    redis_ping_close(p);
    if (n >= 5 && memcmp(text, "+PONG", 5) == 0)
        return REDIS_SERVES;
    return n > 0 ? REDIS_LOADING : REDIS_SILENT;
}
