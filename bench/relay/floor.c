/* floor.c - the physical limit of W6: epoll, read, look where each frame goes,
 * copy it there, write once per turn.  No keys, no answers, no promises.
 *
 *   relay_floor --port N
 *
 * A conn's first byte is its place; a frame is its length, the place it goes
 * to (32 bits each, in the order of the machine), and its bytes. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/sock.h"
#include "common/util.h"

enum {
    EVENTS = 64,
    PLACES = 256,
    READ_MAX = 64 * 1024
};

struct conn {
    int fd; /* 0: none */
    int place;
    struct bytes in, out;
    int is_full;
};

static struct conn conns[1024]; /* by fd */
static struct conn *places[PLACES];
static int epfd, listener;

static void watch(int op, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};

    if (epoll_ctl(epfd, op, fd, &e) < 0)
        util_die("epoll_ctl: %s", strerror(errno));
}

static void end(struct conn *c)
{
    if (c->place >= 0)
        places[c->place] = NULL;
    close(c->fd);
    bytes_fini(&c->in);
    bytes_fini(&c->out);
    memset(c, 0, sizeof(*c));
}

static void accept_one(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0 || fd >= 1024)
        util_die("accept");
    conns[fd] = (struct conn){.fd = fd, .place = -1};
    sock_set_nodelay(fd);
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void route(struct conn *c)
{
    size_t at = 0;
    uint32_t head[2];

    if (c->place < 0 && c->in.len > 0) {
        c->place = (unsigned char)c->in.p[at++];
        places[c->place] = c;
    }
    while (c->in.len - at >= sizeof(head)) {
        memcpy(head, c->in.p + at, sizeof(head));
        if (c->in.len - at < sizeof(head) + head[0])
            break;
        if (head[1] < PLACES && places[head[1]] != NULL)
            bytes_add(&places[head[1]]->out, c->in.p + at,
                      sizeof(head) + head[0]);
        at += sizeof(head) + head[0];
    }
    bytes_drop(&c->in, at);
}

static void read_some(struct conn *c)
{
    ssize_t n = read(c->fd, bytes_room(&c->in, READ_MAX), READ_MAX);

    if (n > 0) {
        c->in.len += (size_t)n;
        route(c);
    } else if (n == 0 || errno != EAGAIN) {
        end(c);
    }
}

static void flush(struct conn *c)
{
    ssize_t n = write(c->fd, c->out.p, c->out.len);
    int is_full;

    bytes_drop(&c->out, n > 0 ? (size_t)n : 0);
    is_full = c->out.len > 0;
    if (is_full != c->is_full)
        watch(EPOLL_CTL_MOD, c->fd, EPOLLIN | (is_full ? EPOLLOUT : 0));
    c->is_full = is_full;
}

int main(int argc, char **argv)
{
    struct epoll_event e[EVENTS];
    int port, i, n;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 3 || strcmp(argv[1], "--port") != 0)
        util_die("usage: relay_floor --port N");
    signal(SIGPIPE, SIG_IGN);
    port = (int)util_number("--port", argv[2], 1, 65535);
    listener = sock_listen(&port);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        n = epoll_wait(epfd, e, EVENTS, -1);
        for (i = 0; i < n; i++) {
            if (e[i].data.fd == listener)
                accept_one();
            else if ((e[i].events & ~(unsigned)EPOLLOUT) != 0)
                read_some(&conns[e[i].data.fd]);
        }
        for (i = 0; i < PLACES; i++) {
            if (places[i] != NULL && places[i]->out.len > 0)
                flush(places[i]);
        }
    }
}
