/* floor_epoll.c - the physical limit: epoll, read, answer, write.
 *
 * One read and one write per turn of a conn.  A conn owns memory only while
 * a request is incomplete or the peer does not take its answers; then it is
 * not read from, so neither can grow beyond one read and its answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/answer.h"
#include "common/floor.h"
#include "common/sock.h"
#include "common/util.h"

#define EVENTS   512
#define READ_MAX 65536

struct conn {
    enum answer_protocol protocol;
    int listening;
    struct bytes *tail; /* an incomplete request; NULL mostly */
    struct bytes *rest; /* answers that the kernel did not take */
};

static struct conn *conns; /* by fd */
static unsigned long conns_max;
static int last_fd;      /* the highest that was ever open */
static struct bytes out; /* answers of the read in hand */
static char in[2 * READ_MAX];
static int epfd;

static void watch(int op, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};

    if (epoll_ctl(epfd, op, fd, &e) < 0)
        util_die("epoll_ctl: %s", strerror(errno));
}

static void release(struct bytes **b)
{
    if (*b != NULL) {
        bytes_fini(*b);
        free(*b);
        *b = NULL;
    }
}

static void keep(struct bytes **b, const char *p, size_t n)
{
    if (*b == NULL)
        *b = util_alloc(1, sizeof(**b));
    bytes_add(*b, p, n);
}

static void conn_close(int fd)
{
    release(&conns[fd].tail);
    release(&conns[fd].rest);
    conns[fd].protocol = ANSWER_TCP;
    close(fd);
}

static void conn_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if ((unsigned long)fd >= conns_max)
        util_die("too many conns");
    conns[fd] = (struct conn){.protocol = conns[listener].protocol};
    last_fd = fd > last_fd ? fd : last_fd;
    sock_set_nodelay(fd);
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

/* 0: all written; 1: the rest waits for room; -1: the peer has gone. */
static int conn_write(int fd, const char *p, size_t n)
{
    ssize_t sent;

    if (conns[fd].rest != NULL) {
        keep(&conns[fd].rest, p, n);
        return 1;
    }
    sent = write(fd, p, n);
    if (sent < 0 && errno != EAGAIN)
        return -1;
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent == n)
        return 0;
    keep(&conns[fd].rest, p + sent, n - (size_t)sent);
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    return 1;
}

/* W4: the same bytes to all who watch. */
static void fan_out(struct bytes *news)
{
    int fd;

    for (fd = 0; fd <= last_fd; fd++) {
        if (conns[fd].protocol == ANSWER_WATCHER &&
            conn_write(fd, news->p, news->len) < 0)
            conn_close(fd);
    }
    news->len = 0;
}

static void conn_read(int fd)
{
    struct conn *c = &conns[fd];
    size_t len = 0;
    ssize_t got;
    long used;

    if (c->tail != NULL) {
        len = c->tail->len;
        memcpy(in, c->tail->p, len);
        release(&c->tail);
    }
    got = read(fd, in + len, READ_MAX);
    if (got <= 0) {
        conn_close(fd);
        return;
    }
    len += (size_t)got;
    out.len = 0;
    used = answer_feed(&c->protocol, &out, in, len);
    if (used < 0 || (out.len > 0 && conn_write(fd, out.p, out.len) < 0)) {
        conn_close(fd);
        return;
    }
    if ((size_t)used < len)
        keep(&c->tail, in + used, len - (size_t)used);
    if (answer_news()->len > 0)
        fan_out(answer_news());
}

static void conn_flush(int fd)
{
    struct bytes *rest = conns[fd].rest;
    ssize_t sent = write(fd, rest->p, rest->len);

    if (sent < 0 && errno != EAGAIN) {
        conn_close(fd);
        return;
    }
    bytes_drop(rest, sent > 0 ? (size_t)sent : 0);
    if (rest->len == 0) {
        release(&conns[fd].rest);
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

static void handle(int fd)
{
    if (conns[fd].listening)
        conn_accept(fd);
    else if (conns[fd].rest != NULL)
        conn_flush(fd);
    else
        conn_read(fd);
}

static void serve(int fd, enum answer_protocol protocol)
{
    conns[fd] = (struct conn){.protocol = protocol, .listening = 1};
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    struct floor_options options;
    int i, n;

    floor_start(&options, argc, argv);
    conns_max = util_raise_files();
    conns = util_alloc(conns_max, sizeof(*conns));
    epfd = epoll_create1(EPOLL_CLOEXEC);
    serve(options.tcp_fd, ANSWER_TCP);
    serve(options.http_fd, ANSWER_HTTP);
    for (;;) {
        n = epoll_wait(epfd, events, EVENTS, -1);
        for (i = 0; i < n; i++)
            handle(events[i].data.fd);
    }
}
