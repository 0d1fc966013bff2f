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
    struct leash_msg m = {.type = type, .number = number, .fd = -1};
    size_t len;

    snprintf(m.text, sizeof(m.text), "%s", text != NULL ? text : "");
    len = HEAD + strlen(m.text) + 1;
    return send(fd, &m, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Room for one descriptor. */
union rights {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int leash_send_fd(int fd, enum leash_type type, int passed)
{
    struct leash_msg m = {.type = type, .fd = -1};
    struct iovec v = {.iov_base = &m, .iov_len = HEAD + 1};
    union rights rights = {.bytes = {0}};
    struct msghdr h = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = &rights,
                       .msg_controllen = sizeof(rights)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &passed, sizeof(passed));
    return sendmsg(fd, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* As recv(), with the descriptor that came along in m->fd. */
static ssize_t receive(int fd, struct leash_msg *m)
{
    struct iovec v = {.iov_base = m, .iov_len = sizeof(*m)};
    union rights rights;
    struct msghdr h = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = &rights,
                       .msg_controllen = sizeof(rights)};
    ssize_t n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&h) : NULL;

    m->fd = -1;
    if (c != NULL && c->cmsg_type == SCM_RIGHTS)
        memcpy(&m->fd, CMSG_DATA(c), sizeof(int));
    return n;
}

int leash_receive(int fd, struct leash_msg *m)
{
    ssize_t n;

    do
        n = receive(fd, m);
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
