/* acceptor.c - takes conns in: the worker's side of listening (net.h).
 *
 * uv_listen() is not used because it closes clients when descriptors run out.
 * A door is one watched listening socket.  Each wake takes a bounded number of
 * conns, so that a storm of connects does not starve those who are in.  When
 * descriptors run out, or accepting fails in any way that trying again at once
 * would not mend, all doors rest a moment: the clients wait in the kernel's
 * queue, nobody who is in notices, and the loop does not spin. */
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/pollfd.h"
#include "net/inner.h"

enum {
    ACCEPTS_PER_WAKE = 16,
    ACCEPTS_AT_END = 4096, /* what a listener's queue may hold */
    PAUSE_MS = 100,
    TELL_MS = 10000,       /* between two lines about pauses */
    UNANSWERED_MS = 30000, /* sent bytes without an ACK: the peer is gone */
};

struct door {
    struct list node;
    struct net *net;
    struct net_port *port;
    struct pollfd_watch *watch;
    int fd;
    unsigned slot;
};

/* Did only that client go wrong while it was queued?  Linux hands errors of
 * its network up through accept(). */
static bool is_of_client(int err)
{
    switch (err) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM: /* a firewall's rule */
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

static void want_all(struct net *n, bool want)
{
    struct list *it;

    list_each (it, &n->doors)
        pollfd_want(list_entry(it, struct door, node)->watch, want);
}

static void on_pause_over(struct timer *t)
{
    want_all(list_entry(t, struct net, accept_pause), true);
}

static void pause_doors(struct net *n, int err)
{
    uint64_t now = loop_now(n->loop);

    if (now >= n->tell_pause_at) {
        log_warn("accepting pauses: %s", err_str(-err));
        n->tell_pause_at = now + TELL_MS;
    }
    want_all(n, false);
    n->accept_pause.fn = on_pause_over;
    timer_start(n->loop, &n->accept_pause, PAUSE_MS);
}

/* Count one more conn; false: there are as many as there may be. */
static bool take_place(struct net *n, const struct net_port *port)
{
    if (!tally_take(n->tally, NET_TALLY_ALL, n->conf->server.max_conns))
        return false;
    if (tally_take(n->tally, NET_TALLY_PORT + port->index,
                   port->conf->max_conns))
        return true;
    tally_give(n->tally, NET_TALLY_ALL);
    return false;
}

/* Take up to `max` conns; false when accepting has to pause. */
static bool take(struct door *d, unsigned max)
{
    struct net *n = d->net;

    while (max-- > 0) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(d->fd, (struct sockaddr *)&peer, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && errno == EAGAIN)
            return true;
        if (fd < 0 && is_of_client(errno))
            continue;
        if (fd < 0) {
            pause_doors(n, errno);
            return false;
        }
        if (!take_place(n, d->port)) {
            n->counters.refused++;
            log_warn("port %s has its max_conns: a client was refused",
                     d->port->conf->name);
            close(fd);
            continue;
        }
        conn_accept(n, d->port, fd, &peer);
    }
    return true;
}

static void on_wake(void *arg)
{
    struct door *d = arg;

    take(d, ACCEPTS_PER_WAKE);
}

/* Conns inherit it: a peer whose machine is gone is dropped by the kernel.
 * That also ends a client which stopped reading, so it must come later than
 * slow_timeout, and not at all where that has no limit. */
static void set_user_timeout(const struct door *d)
{
    uint64_t slow = d->port->conf->slow_timeout;
    unsigned ms = 0;

    if (slow > 0 && slow < INT_MAX - UNANSWERED_MS)
        ms = (unsigned)slow + UNANSWERED_MS;
    (void)setsockopt(d->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

int net_adopt(struct net *n, unsigned slot, const int *fds)
{
    unsigned i;

    sd_check(n, NET_MAGIC);
    net_release(n, slot);
    for (i = 0; i < n->nports; i++) {
        struct door *d;
        int err;

        if (fds[i] < 0)
            continue;
        d = mem_zalloc(sizeof(*d));
        d->net = n;
        d->port = &n->ports[i];
        d->fd = fds[i];
        d->slot = slot;
        set_user_timeout(d);
        err = pollfd_open(&d->watch, n->loop, d->fd, on_wake, d);
        if (err < 0) {
            mem_free(d);
            net_release(n, slot);
            return err;
        }
        list_add(&n->doors, &d->node);
        if (timer_is_on(&n->accept_pause))
            pollfd_want(d->watch, false);
    }
    return 0;
}

static void door_close(struct door *d)
{
    pollfd_close(&d->watch);
    list_del(&d->node);
    mem_free(d);
}

void net_release(struct net *n, unsigned slot)
{
    struct list *it, *tmp;

    sd_check(n, NET_MAGIC);
    list_each_safe (it, tmp, &n->doors) {
        struct door *d = list_entry(it, struct door, node);

        if (d->slot == slot)
            door_close(d);
    }
}

void doors_close(struct net *n)
{
    timer_stop(n->loop, &n->accept_pause);
    while (!list_empty(&n->doors))
        door_close(list_entry(n->doors.next, struct door, node));
}

void net_stop_accepting(struct net *n)
{
    struct list *it;

    sd_check(n, NET_MAGIC);
    list_each (it, &n->doors) {
        struct door *d = list_entry(it, struct door, node);

        if (!take(d, ACCEPTS_AT_END))
            break;
    }
    list_each (it, &n->doors)
        (void)shutdown(list_entry(it, struct door, node)->fd, SHUT_RDWR);
    doors_close(n);
}
