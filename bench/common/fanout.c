/* fanout.c - see fanout.h.
 *
 * Every watcher compares every byte of every message, and knows by the number
 * in it which one it must be.  A delivery's latency is taken from the write
 * of the publisher to the watcher's read.
 *
 * Stages change between two rounds only, when nothing is on its way. */
#include "common/fanout.h"

#include <sys/socket.h>

#include "common/ask.h"
#include "common/crowd.h"
#include "common/packet.h"
#include "common/sock.h"
#include "common/util.h"

struct fanout {
    struct stages run;
    struct crowd crowd; /* the last conn publishes */
    uint64_t published; /* messages */
    uint64_t owed;      /* deliveries of this round */
    uint64_t sent_at;   /* when it was published */
    struct bytes calls;
};

static long judge(void *arg, struct crowd_conn *c, const char *in, size_t len)
{
    struct fanout *f = arg;
    long n;

    if (c->index == f->run.plan->conns) {
        stages_fail(&f->run, "publish was answered: wrong reply %.*s", (int)len,
                    in);
        return -1;
    }
    if (c->next == f->published) {
        stages_fail(&f->run, "conn %u: a message nobody published", c->index);
        return -1;
    }
    n = packet_is_text(in, len, WORKLOAD_PAYLOAD, c->next);
    if (n <= 0)
        return n;
    c->next++;
    f->owed--;
    f->run.done++;
    if (f->run.stage == STAGE_MEASURE)
        hist_add(&f->run.result->latency, util_now() - f->sent_at);
    return n;
}

static void open_all(struct fanout *f)
{
    const struct client_plan *plan = f->run.plan;
    unsigned i;

    crowd_open(&f->crowd, plan->conns + 1);
    for (i = 0; i < plan->conns; i++)
        crowd_set(&f->crowd, i,
                  ask_connect(plan->address, plan->port, (int)(i & 31), "watch",
                              NULL, "true"));
    crowd_set(&f->crowd, i, sock_connect(plan->address, plan->port, -1));
    f->run.began = util_now();
}

static void publish(struct fanout *f)
{
    const struct client_plan *plan = f->run.plan;
    unsigned i;

    f->calls.len = 0;
    for (i = 0; i < plan->depth; i++)
        packet_call_text(&f->calls, "publish", WORKLOAD_PAYLOAD,
                         f->published++);
    f->owed = (uint64_t)plan->depth * plan->conns;
    f->sent_at = util_now();
    crowd_send(&f->crowd, &f->crowd.conns[plan->conns], f->calls.p,
               f->calls.len);
}

/* Until everybody has everything. */
static void collect(struct fanout *f)
{
    while (f->owed > 0 && !f->run.failed) {
        crowd_turn(&f->crowd, 50);
        if ((double)(util_now() - f->sent_at) / 1e9 > f->run.plan->stall)
            stages_fail(&f->run, "no message for %g s, %llu owed",
                        f->run.plan->stall, (unsigned long long)f->owed);
    }
}

int fanout_run(struct client_result *out, const struct client_plan *plan)
{
    struct fanout f = {.crowd = {.judge = judge}};

    stages_begin(&f.run, plan, out);
    f.crowd.run = &f.run;
    f.crowd.arg = &f;
    open_all(&f);
    while (f.run.stage != STAGE_DRAIN && !f.run.failed) {
        publish(&f);
        collect(&f);
        stages_advance(&f.run, util_now());
    }
    crowd_close(&f.crowd);
    bytes_fini(&f.calls);
    if (!f.run.failed)
        ask_settle(plan->address, plan->port);
    return f.run.failed ? -1 : 0;
}
