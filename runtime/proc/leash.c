/* leash.c - SOCK_SEQPACKET keeps messages whole and tells the end of a peer. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "proc/leash.h"

enum {
    HEAD = offsetof(struct leash_msg, text)
};

int leash_pair(int fds[2])
{
    int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;

    return socketpair(AF_UNIX, type, 0, fds) < 0 ? -errno : 0;
}

int leash_send(int fd, enum leash_type type, uint32_t number, const char *text)
{
    struct leash_msg m = {.type = type, .number = number};
    size_t len;

    snprintf(m.text, sizeof(m.text), "%s", text != NULL ? text : "");
    len = HEAD + strlen(m.text) + 1;
    return send(fd, &m, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int leash_receive(int fd, struct leash_msg *m)
{
    ssize_t n;

    do
        n = recv(fd, m, sizeof(*m), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n < 0)
        return -errno;
    if (n == 0)
        return SD_ECLOSED;
    if (n <= HEAD || m->type == LEASH_NONE || m->type >= LEASH_TYPES)
        return SD_EPROTO;
    m->text[n - HEAD - 1] = '\0';
    return 1;
}

int leash_wait_go(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct leash_msg m;
    int n;

    do {
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return -errno;
        n = leash_receive(fd, &m);
    } while (n == 0);
    if (n < 0)
        return n;
    return m.type == LEASH_GO ? 0 : SD_EPROTO;
}
