/* client.c - see client.h.
 *
 * A conn sends as many requests as replies came in, in one write, so a window
 * of 16 stays a window of 16 when the server answers in batches.  Latency is
 * taken from the write of a request to the read of its reply (from before the
 * connect where each request has a conn of its own).
 *
 * At both edges of the measured part the same number of requests is in flight,
 * so what was begun before and finished after cancels out. */
#include "common/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sock.h"
#include "common/stages.h"
#include "common/util.h"

#define EVENTS     256
#define READ_CHUNK 65536
#define IN_MAX     (4U << 20)

struct conn {
    struct client *client;
    int fd;
    unsigned index;
    bool wants_out;     /* the kernel did not take all of `out` */
    uint64_t first;     /* number of the oldest request without reply */
    unsigned in_flight; /* requests without reply */
    uint64_t *sent_at;  /* by number modulo depth */
    struct bytes in, out;
};

struct client {
    struct stages run;
    int epfd;
    struct conn *conns;
    uint64_t in_flight;  /* on all conns */
    uint64_t last_reply; /* when any reply came */
};

/* --- one conn ------------------------------------------------------------- */

static void conn_watch(struct conn *c, int op, bool wants_out)
{
    struct epoll_event e = {.data.ptr = c};

    e.events = EPOLLIN | (wants_out ? EPOLLOUT : 0U);
    if (epoll_ctl(c->client->epfd, op, c->fd, &e) < 0)
        util_die("epoll_ctl: %s", strerror(errno));
    c->wants_out = wants_out;
}

static void conn_flush(struct conn *c)
{
    ssize_t n = send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL);
    bool more;

    if (n < 0 && errno != EAGAIN) {
        stages_fail(&c->client->run, "conn %u: send: %s", c->index,
                    strerror(errno));
        return;
    }
    bytes_drop(&c->out, n > 0 ? (size_t)n : 0);
    more = c->out.len > 0;
    if (more != c->wants_out)
        conn_watch(c, EPOLL_CTL_MOD, more);
}

/* The number is unique over all conns: nobody else's reply can be right. */
static uint64_t number_of(const struct conn *c, uint64_t n)
{
    return (uint64_t)c->index << 40 | n;
}

static void conn_fill(struct conn *c, uint64_t now)
{
    const struct client_plan *plan = c->client->run.plan;

    while (c->in_flight < plan->depth) {
        uint64_t n = c->first + c->in_flight;

        plan->work->request(&c->out, number_of(c, n));
        c->sent_at[n % plan->depth] = now;
        c->in_flight++;
        c->client->in_flight++;
    }
    conn_flush(c);
}

static void conn_open(struct conn *c)
{
    const struct client_plan *plan = c->client->run.plan;
    int spread = plan->work->per_conn ? (int)(c->index + c->first) & 31 : -1;

    c->fd = sock_connect(plan->address, plan->port, spread);
    if (plan->work->upgrade && workload_upgrade(c->fd) < 0)
        stages_fail(&c->client->run, "conn %u: no WebSocket was opened",
                    c->index);
    sock_set_nonblocking(c->fd);
    conn_watch(c, EPOLL_CTL_ADD, false);
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->in.len = c->out.len = 0;
}

static void count(struct conn *c, uint64_t now)
{
    struct client *cl = c->client;

    if (cl->run.stage == STAGE_MEASURE)
        hist_add(&cl->run.result->latency,
                 now - c->sent_at[c->first % cl->run.plan->depth]);
    c->first++;
    c->in_flight--;
    cl->in_flight--;
    cl->run.done++;
    cl->last_reply = now;
    stages_advance(&cl->run, now);
}

/* Judge all whole replies that have arrived. */
static void conn_judge(struct conn *c, uint64_t now)
{
    const struct workload *work = c->client->run.plan->work;
    size_t used = 0;
    long n;

    while (used < c->in.len) {
        if (c->in_flight == 0) {
            stages_fail(&c->client->run, "conn %u: a reply nobody asked for",
                        c->index);
            return;
        }
        n = work->reply(c->in.p + used, c->in.len - used,
                        number_of(c, c->first));
        if (n < 0) {
            stages_fail(&c->client->run, "conn %u: wrong reply to request %llu",
                        c->index, (unsigned long long)c->first);
            return;
        }
        if (n == 0)
            break;
        used += (size_t)n;
        count(c, now);
    }
    bytes_drop(&c->in, used);
}

static void conn_read(struct conn *c)
{
    struct client *cl = c->client;
    ssize_t n;
    uint64_t now;

    n = recv(c->fd, bytes_room(&c->in, READ_CHUNK), READ_CHUNK, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        stages_fail(&cl->run, "conn %u: closed with %u replies owed: %s",
                    c->index, c->in_flight,
                    n < 0 ? strerror(errno) : "end of stream");
        return;
    }
    c->in.len += (size_t)n;
    if (c->in.len > IN_MAX) {
        stages_fail(&cl->run, "conn %u: a reply without end", c->index);
        return;
    }
    now = util_now();
    conn_judge(c, now);
    if (cl->run.failed || c->in_flight == cl->run.plan->depth)
        return;
    if (cl->run.plan->work->per_conn)
        conn_close(c);
    if (cl->run.stage == STAGE_DRAIN)
        return;
    if (c->fd < 0) {
        now = util_now();
        conn_open(c);
    }
    conn_fill(c, now);
}

static void conn_ready(struct conn *c, uint32_t events)
{
    if (events & EPOLLOUT)
        conn_flush(c);
    if (events & ~(uint32_t)EPOLLOUT && !c->client->run.failed)
        conn_read(c);
}

/* --- the run -------------------------------------------------------------- */

static void open_all(struct client *cl)
{
    unsigned i;

    for (i = 0; i < cl->run.plan->conns && !cl->run.failed; i++) {
        struct conn *c = &cl->conns[i];

        c->client = cl;
        c->index = i;
        c->sent_at = util_alloc(cl->run.plan->depth, sizeof(*c->sent_at));
        conn_open(c);
    }
    cl->run.began = cl->last_reply = util_now();
    for (i = 0; i < cl->run.plan->conns && !cl->run.failed; i++)
        conn_fill(&cl->conns[i], util_now());
}

/* After the last reply nothing more may come. */
static void close_all(struct client *cl)
{
    unsigned i;
    char byte;

    for (i = 0; i < cl->run.plan->conns; i++) {
        struct conn *c = &cl->conns[i];

        if (c->fd >= 0 && !cl->run.failed && recv(c->fd, &byte, 1, 0) > 0)
            stages_fail(&cl->run, "conn %u: a reply nobody asked for",
                        c->index);
        conn_close(c);
        bytes_fini(&c->in);
        bytes_fini(&c->out);
        free(c->sent_at);
    }
}

static void turn(struct client *cl)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(cl->epfd, events, EVENTS, 50);
    uint64_t now;
    int i;

    for (i = 0; i < n && !cl->run.failed; i++)
        conn_ready(events[i].data.ptr, events[i].events);
    now = util_now();
    if (now > cl->last_reply &&
        (double)(now - cl->last_reply) / 1e9 > cl->run.plan->stall)
        stages_fail(&cl->run, "no reply for %g s, %llu owed",
                    cl->run.plan->stall, (unsigned long long)cl->in_flight);
    if (!cl->run.failed)
        stages_advance(&cl->run, now);
}

int client_run(struct client_result *out, const struct client_plan *plan)
{
    struct client cl = {0};

    stages_begin(&cl.run, plan, out);
    cl.epfd = epoll_create1(EPOLL_CLOEXEC);
    cl.conns = util_alloc(plan->conns, sizeof(*cl.conns));
    open_all(&cl);
    while (!cl.run.failed && (cl.run.stage != STAGE_DRAIN || cl.in_flight > 0))
        turn(&cl);
    close_all(&cl);
    free(cl.conns);
    close(cl.epfd);
    return cl.run.failed ? -1 : 0;
}
