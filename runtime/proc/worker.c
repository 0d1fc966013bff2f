/* worker.c - loop and vm: conns, controllers, models, timers.
 *
 * Peers: the master by the leash (dispatch below); other workers and tasks by
 * the mesh, whose messages the vm dispatches; clients by net.
 *
 * A drain comes before the end: nothing is accepted any more and conns leave
 * at the master's pace, but the worker stays until it is told to end.
 *
 * The end, in order: accept what is queued and no more; let each conn finish
 * what it has sent and close it with the reason "stop"; run on_stop when the
 * last one has gone.  Late conns are closed in the middle of their calls, and
 * who is late even then is cut off by the master. */
#include "proc/worker.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/conn.h"
#include "net/net.h"
#include "proc/child.h"
#include "proc/pace.h"
#include "proc/process.h"
#include "proc/tables.h"

enum {
    DRAIN_LOOK = 10, /* ms between two looks at what is left */
    DRAIN_SHARE = 4, /* calls may take 3/4 of the time, then conns close */
};

enum worker_state {
    WORKER_SERVING,
    WORKER_LEAVING,
    WORKER_DRAINING,
    WORKER_LATE,
    WORKER_ENDING
};

struct worker {
    struct process process;
    enum worker_state state;
    uint64_t close_at; /* clock_ms(): close conns, finished or not */
    struct timer look;
    struct pace pace; /* while it leaves */
};

static struct worker *worker_of(struct process *p)
{
    return list_entry(p, struct worker, process);
}

static void adopt(struct worker *w, unsigned slot)
{
    const struct heritage *h = w->process.h;
    int err;

    if (slot >= h->workers || w->state != WORKER_SERVING)
        return;
    err = net_adopt(w->process.net, slot, h->listeners[slot]);
    if (err < 0)
        log_error("cannot serve the listeners of slot %u", slot);
}

static void on_started(struct process *p)
{
    net_set_ops(p->net, &vms_conn_ops, p->vms);
    adopt(worker_of(p), p->h->slot);
    process_ready(p);
}

static void close_late(struct net *net, struct vms *vms)
{
    uint32_t cursor = 0;
    struct conn *c;

    while ((c = net_next(net, &cursor)) != NULL)
        vms_close_conn(vms, c, reason_word(REASON_STOP));
}

static void on_look(struct timer *t)
{
    struct worker *w = list_entry(t, struct worker, look);
    struct process *p = &w->process;

    if (w->state == WORKER_DRAINING && clock_ms() >= w->close_at) {
        w->state = WORKER_LATE;
        close_late(p->net, p->vms);
    }
    if (vms_calls(p->vms) == 0 && net_conns(p->net) == 0 &&
        vms_is_settled(p->vms)) {
        w->state = WORKER_ENDING;
        process_finish(p);
    } else {
        timer_start(p->loop, t, DRAIN_LOOK);
    }
}

/* The state says that no conn comes any more: what is open now must be known
 * before it. */
static void leave(struct worker *w, uint32_t rate)
{
    struct process *p = &w->process;

    if (w->state > WORKER_LEAVING)
        return;
    if (w->state == WORKER_SERVING) {
        w->state = WORKER_LEAVING;
        net_stop_accepting(p->net);
        net_drain(p->net, reason_word(REASON_DRAIN));
        slots_set(p->slots, p->h->slot, SLOT_CONNS, net_conns(p->net));
        slots_set_state(p->slots, p->h->slot, SLOT_DRAINING);
    }
    pace_set(&w->pace, p->loop, p->net, rate);
}

static void drain(struct worker *w, uint32_t ms)
{
    if (w->state > WORKER_LEAVING)
        return;
    pace_stop(&w->pace);
    vms_rest(w->process.vms);
    w->state = WORKER_DRAINING;
    w->close_at = clock_ms() + ms - ms / DRAIN_SHARE;
    slots_set_state(w->process.slots, w->process.h->slot, SLOT_DRAINING);
    net_stop_accepting(w->process.net);
    net_close_conns(w->process.net, reason_word(REASON_STOP));
    timer_start(w->process.loop, &w->look, 1);
}

static void on_leash(struct process *p, const struct leash_msg *m)
{
    struct worker *w = worker_of(p);

    switch ((enum leash_type)m->type) {
    case LEASH_ADOPT:
        adopt(w, m->number);
        break;
    case LEASH_RELEASE:
        if (w->state == WORKER_SERVING)
            net_release(p->net, m->number);
        break;
    case LEASH_DRAIN:
        drain(w, m->number);
        break;
    case LEASH_LEAVE:
        leave(w, m->number);
        break;
    default:
        sd_panic(__FILE__, __LINE__, __func__, "no message for a worker");
    }
}

static int open_net(struct process *p, const char **why)
{
    struct net_config config = {
        .loop = p->loop,
        .conf = p->conf,
        .slot = p->h->slot,
        .epoch = p->h->epoch,
        .ops = &vms_conn_ops,
    };

    p->tally = tally_open(tables_tally(p->mesh, p->conf), p->slots, p->h->slot,
                          (uint16_t)p->h->epoch);
    config.tally = p->tally;
    port_counters_begin(&p->port_counters,
                        tables_ports(p->mesh, p->conf, p->h->slot),
                        p->conf->nports);

    return net_open(&p->net, &config, why);
}

int worker_run(const struct heritage *h)
{
    struct worker w = {
        .process = {.on_started = on_started, .on_leash = on_leash},
        .look = {.fn = on_look},
    };
    const char *why = NULL;

    if (process_open(&w.process, h) < 0)
        return CHILD_FAILED;
    if (open_net(&w.process, &why) < 0)
        process_refuse(&w.process, why);
    else
        process_start(&w.process);
    return process_run(&w.process);
}
