/* crowd.c - see crowd.h.
 *
 * All conns read into one buffer; one keeps memory only while a packet is
 * incomplete.  With ten thousand of them the judge is not to be the slower
 * side. */
#include "common/crowd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sock.h"
#include "common/util.h"

#define EVENTS   512
#define READ_MAX 65536

static char in[2 * READ_MAX];

void crowd_open(struct crowd *crowd, unsigned count)
{
    unsigned i;

    crowd->count = count;
    crowd->conns = util_alloc(count, sizeof(*crowd->conns));
    crowd->epfd = epoll_create1(EPOLL_CLOEXEC);
    for (i = 0; i < count; i++)
        crowd->conns[i] = (struct crowd_conn){.fd = -1, .index = i};
}

void crowd_set(struct crowd *crowd, unsigned index, int fd)
{
    struct crowd_conn *c = &crowd->conns[index];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

    sock_set_nonblocking(fd);
    c->fd = fd;
    if (epoll_ctl(crowd->epfd, EPOLL_CTL_ADD, fd, &e) < 0)
        util_die("epoll_ctl: %s", strerror(errno));
}

/* The bytes used up, which are all but an incomplete packet. */
static size_t judge_all(struct crowd *crowd, struct crowd_conn *c, size_t len)
{
    size_t used = 0;
    long n = 1;

    while (n > 0 && used < len && !crowd->run->failed) {
        n = crowd->judge(crowd->arg, c, in + used, len - used);
        if (n < 0)
            stages_fail(crowd->run, "conn %u: wrong reply %llu", c->index,
                        (unsigned long long)c->next);
        used += n > 0 ? (size_t)n : 0;
    }
    return used;
}

static void conn_read(struct crowd *crowd, struct crowd_conn *c)
{
    size_t len = c->tail.len, used;
    ssize_t n;

    if (len > 0)
        memcpy(in, c->tail.p, len);
    n = recv(c->fd, in + len, READ_MAX, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        stages_fail(crowd->run, "conn %u: closed: %s", c->index,
                    n < 0 ? strerror(errno) : "end of stream");
        return;
    }
    len += (size_t)n;
    used = judge_all(crowd, c, len);
    bytes_fini(&c->tail);
    if (len - used > READ_MAX)
        stages_fail(crowd->run, "conn %u: a packet without end", c->index);
    else if (used < len)
        bytes_add(&c->tail, in + used, len - used);
    if (crowd->on_read != NULL && !crowd->run->failed)
        crowd->on_read(crowd->arg, c);
}

void crowd_turn(struct crowd *crowd, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int i, n = epoll_wait(crowd->epfd, events, EVENTS, timeout_ms);

    for (i = 0; i < n && !crowd->run->failed; i++)
        conn_read(crowd, events[i].data.ptr);
}

void crowd_send(struct crowd *crowd, struct crowd_conn *c, const void *p,
                size_t n)
{
    const char *from = p;
    struct pollfd room = {.fd = c->fd, .events = POLLOUT};

    while (n > 0 && !crowd->run->failed) {
        ssize_t sent = send(c->fd, from, n, MSG_NOSIGNAL);

        if (sent >= 0) {
            from += sent;
            n -= (size_t)sent;
        } else if (errno != EAGAIN || poll(&room, 1, 10000) <= 0) {
            stages_fail(crowd->run, "conn %u: send: %s", c->index,
                        strerror(errno));
        }
    }
}

void crowd_close(struct crowd *crowd)
{
    unsigned i;
    char byte;

    for (i = 0; i < crowd->count; i++) {
        struct crowd_conn *c = &crowd->conns[i];

        if (c->fd < 0)
            continue;
        if (!crowd->run->failed &&
            (c->tail.len > 0 || recv(c->fd, &byte, 1, 0) > 0))
            stages_fail(crowd->run, "conn %u: a packet nobody asked for",
                        c->index);
        close(c->fd);
        bytes_fini(&c->tail);
    }
    free(crowd->conns);
    close(crowd->epfd);
}
