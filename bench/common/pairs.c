/* pairs.c - see pairs.h.
 *
 * Conns are opened until there are enough on both workers; which one a conn
 * is on it asks.  A sender has as many messages on their way as the window
 * says: it sends as many as its receiver has read, in one write.  Latency is
 * taken from the sender's write to the receiver's read. */
#include "common/pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ask.h"
#include "common/crowd.h"
#include "common/packet.h"
#include "common/sock.h"
#include "common/util.h"

#define TRIES 64 /* conns opened for one that is needed, at most */

struct pair {
    uint64_t sent;     /* its receiver has read crowd_conn.next of them */
    uint64_t *sent_at; /* by number modulo depth */
};

struct pairs {
    struct stages run;
    struct crowd crowd; /* senders, then receivers */
    struct pair *pairs;
    uint64_t in_flight;
    uint64_t last; /* when any message came */
    struct bytes calls;
};

static bool is_sender(const struct pairs *p, const struct crowd_conn *c)
{
    return c->index < p->run.plan->conns;
}

static uint64_t number_of(unsigned index, uint64_t n)
{
    return (uint64_t)index << 40 | n;
}

/* --- sending -------------------------------------------------------------- */

static void add_call(struct bytes *out, unsigned index, uint64_t n)
{
    char params[WORKLOAD_PAYLOAD + 64];
    int at =
        snprintf(params, sizeof(params), "{\"to\":\"r%u\",\"text\":\"", index);

    packet_text(params + at, WORKLOAD_PAYLOAD, number_of(index, n));
    memcpy(params + at + WORKLOAD_PAYLOAD, "\"}", 3);
    packet_call(out, "tell", params);
}

static void fill(struct pairs *p, unsigned index, uint64_t now)
{
    unsigned conns = p->run.plan->conns, depth = p->run.plan->depth;
    struct crowd_conn *sender = &p->crowd.conns[index];
    struct crowd_conn *receiver = &p->crowd.conns[conns + index];
    struct pair *pair = &p->pairs[index];

    p->calls.len = 0;
    while (pair->sent < receiver->next + depth) {
        pair->sent_at[pair->sent % depth] = now;
        add_call(&p->calls, index, pair->sent++);
        p->in_flight++;
    }
    crowd_send(&p->crowd, sender, p->calls.p, p->calls.len);
}

/* --- receiving ------------------------------------------------------------ */

static long judge(void *arg, struct crowd_conn *c, const char *in, size_t len)
{
    struct pairs *p = arg;
    unsigned index = c->index - p->run.plan->conns;
    const struct pair *pair = &p->pairs[index];
    long n;

    if (is_sender(p, c) || c->next == pair->sent) {
        stages_fail(&p->run, "conn %u: wrong reply nobody asked for: %.*s",
                    c->index, PACKET_SHOW(in, len));
        return -1;
    }
    n = packet_is_text(in, len, WORKLOAD_PAYLOAD, number_of(index, c->next));
    if (n <= 0)
        return n;
    p->last = util_now();
    if (p->run.stage == STAGE_MEASURE)
        hist_add(&p->run.result->latency,
                 p->last - pair->sent_at[c->next % p->run.plan->depth]);
    c->next++;
    p->in_flight--;
    p->run.done++;
    stages_advance(&p->run, p->last);
    return n;
}

static void on_read(void *arg, struct crowd_conn *c)
{
    struct pairs *p = arg;

    if (!is_sender(p, c) && p->run.stage != STAGE_DRAIN)
        fill(p, c->index - p->run.plan->conns, util_now());
}

/* --- the run -------------------------------------------------------------- */

/* The slot of the worker that a new conn is on. */
static int slot_of(int fd)
{
    char reply[64];

    if (ask(reply, sizeof(reply), fd, "slot", NULL) < 0)
        util_die("bench/slot: no reply");
    return (int)util_number("slot", reply, 0, 255);
}

static void bind_receiver(int fd, unsigned index)
{
    char uid[32], reply[64] = "nothing";

    snprintf(uid, sizeof(uid), "\"r%u\"", index);
    if (ask(reply, sizeof(reply), fd, "bind", uid) < 0 ||
        strcmp(reply, "true") != 0)
        util_die("bench/bind: wrong reply %s", reply);
}

/* The first conn's worker has the senders. */
static void open_all(struct pairs *p)
{
    const struct client_plan *plan = p->run.plan;
    unsigned have[2] = {0, 0}, tries = 2 * TRIES * plan->conns;
    int first = -1;

    crowd_open(&p->crowd, 2 * plan->conns);
    while (have[0] + have[1] < 2 * plan->conns) {
        int fd = sock_connect(plan->address, plan->port, -1);
        int slot = slot_of(fd);
        bool far = first >= 0 && slot != first;

        first = first < 0 ? slot : first;
        if (tries-- == 0)
            util_die("no conn comes to a second worker");
        if (have[far] == plan->conns) {
            close(fd);
            continue;
        }
        if (far)
            bind_receiver(fd, have[far]);
        crowd_set(&p->crowd, (far ? plan->conns : 0) + have[far]++, fd);
    }
}

static void begin(struct pairs *p)
{
    const struct client_plan *plan = p->run.plan;
    unsigned i;

    p->pairs = util_alloc(plan->conns, sizeof(*p->pairs));
    p->run.began = p->last = util_now();
    for (i = 0; i < plan->conns; i++) {
        p->pairs[i].sent_at = util_alloc(plan->depth, sizeof(uint64_t));
        fill(p, i, util_now());
    }
}

static void end(struct pairs *p)
{
    unsigned i;

    for (i = 0; i < p->run.plan->conns; i++)
        free(p->pairs[i].sent_at);
    free(p->pairs);
    crowd_close(&p->crowd);
    bytes_fini(&p->calls);
}

static void turn(struct pairs *p)
{
    uint64_t now;

    crowd_turn(&p->crowd, 50);
    now = util_now();
    if (now > p->last && (double)(now - p->last) / 1e9 > p->run.plan->stall)
        stages_fail(&p->run, "no message for %g s, %llu owed",
                    p->run.plan->stall, (unsigned long long)p->in_flight);
    if (!p->run.failed)
        stages_advance(&p->run, now);
}

int pairs_run(struct client_result *out, const struct client_plan *plan)
{
    struct pairs p = {.crowd = {.judge = judge, .on_read = on_read}};

    stages_begin(&p.run, plan, out);
    p.crowd.run = &p.run;
    p.crowd.arg = &p;
    open_all(&p);
    begin(&p);
    while (!p.run.failed && (p.run.stage != STAGE_DRAIN || p.in_flight > 0))
        turn(&p);
    end(&p);
    return p.run.failed ? -1 : 0;
}
