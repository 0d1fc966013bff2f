/* leash.c - SOCK_SEQPACKET keeps messages whole and tells the end of a peer. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
};

int leash_send_msg(int fd, const struct leash_msg *m, int passed)
{
    union {
        const struct leash_msg *in;
        void *out;
    } bytes = {m};
    struct iovec v = {bytes.out, HEAD + strlen(m->text) + 1};
    union control control = {.room = ""};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};

    if (passed >= 0) {
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &passed, sizeof(int));
        h.msg_control = control.room;
        h.msg_controllen = sizeof(control.room);
    }
    return sendmsg(fd, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int leash_send(int fd, enum leash_type type, uint32_t number, const char *text)
{
    struct leash_msg m = {.type = type, .number = number};

    snprintf(m.text, sizeof(m.text), "%s", text != NULL ? text : "");
    return leash_send_msg(fd, &m, -1);
}

static int passed_with(struct msghdr *h)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    int fd = -1;

    if (c != NULL && c->cmsg_level == SOL_SOCKET &&
        c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(c), sizeof(int));
    return fd;
}

int leash_receive_fd(int fd, struct leash_msg *m, int *passed)
{
    union control control = {.room = ""};
    struct iovec v = {m, sizeof(*m)};
    struct msghdr h = {
        .msg_iov = &v,
        .msg_iovlen = 1,
        .msg_control = control.room,
        .msg_controllen = sizeof(control.room),
    };
    ssize_t n;

    *passed = -1;
    do
        n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
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
    *passed = passed_with(&h);
    return 1;
}

int leash_receive(int fd, struct leash_msg *m)
{
    int passed;
    int n = leash_receive_fd(fd, m, &passed);

    if (passed >= 0)
        close(passed);
    return n;
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
