/* figures.c - see figures.h. */
#include "proc/figures.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/push.h"
#include "proc/status.h"
#include "proc/tables.h"

enum {
    LAG_WEIGHT = 8 /* the newest sample counts one part in so many */
};

static void count_net(const struct net_counters *n, uint64_t *v)
{
    _Static_assert((int)REASON_COUNT <= (int)COUNTERS_REASONS, "no room");

    v[COUNT_ACCEPTED] = n->accepted;
    v[COUNT_REFUSED] = n->refused;
    v[COUNT_PACKETS_IN] = n->packets_in;
    v[COUNT_PACKETS_OUT] = n->packets_out;
    v[COUNT_BYTES_IN] = n->bytes_in;
    v[COUNT_BYTES_OUT] = n->bytes_out;
    v[COUNT_REQUESTS] = n->requests;
    for (unsigned r = 0; r < REASON_COUNT; r++)
        v[COUNT_CLOSED + r] = n->closed[r];
}

/* One port, for itself and in the sums of the process. */
static void count_port(const struct process *p, unsigned port, uint64_t *of,
                       uint64_t *v)
{
    const struct push_counters *c = net_push_counters(p->net, port);

    of[PORT_CONNS] = net_port_conns(p->net, port);
    of[PORT_PUSHES_ACCEPTED] = c->accepted;
    of[PORT_PUSHES_DELIVERED] = c->written;
    of[PORT_PUSHES_IN_FLIGHT] = c->waiting;
    of[PORT_SLOW_CONNS] = c->slow_conns;
    v[COUNT_PUSHES_ACCEPTED] += c->accepted;
    v[COUNT_PUSHES_DELIVERED] += c->written;
    v[COUNT_PUSHES_IN_FLIGHT] += c->waiting;
    for (unsigned r = 0; r < PUSH_DROPS; r++) {
        of[PORT_PUSHES_DROPPED + r] = c->dropped[r];
        v[COUNT_PUSHES_DROPPED + r] += c->dropped[r];
    }
}

static void count_ports(struct process *p, uint64_t *v)
{
    unsigned n = p->conf->nports;
    uint64_t *of = mem_zalloc((n * PORT_COUNTERS + 1) * sizeof(*of));

    _Static_assert((int)PUSH_DROPS <= (int)COUNTERS_DROPS, "no room");
    v[COUNT_QUEUE_BYTES] = net_queue_memory(p->net);
    for (unsigned i = 0; i < n; i++)
        count_port(p, i, of + (size_t)i * PORT_COUNTERS, v);
    port_counters_publish(&p->port_counters, of);
    mem_free(of);
}

static void count_messages(const struct mesh *m, uint64_t *v)
{
    struct mesh_sent sent;

    mesh_count_sent(m, &sent);
    v[COUNT_MESSAGES_ACCEPTED] = sent.accepted;
    v[COUNT_MESSAGES_DELIVERED] = sent.delivered;
    v[COUNT_MESSAGES_CRASHED] = sent.dropped;
    v[COUNT_MESSAGES_IN_FLIGHT] = sent.in_flight;
}

static void publish(struct process *p)
{
    uint64_t v[COUNTERS] = {0};

    count_messages(p->mesh, v);
    if (p->net != NULL)
        count_net(net_counters(p->net), v);
    if (p->tally != NULL)
        count_ports(p, v);
    if (p->vms != NULL)
        vms_count(p->vms, v);
    if (p->on_count != NULL)
        p->on_count(p, v);
    counters_publish(&p->counters, v);
}

static void describe(struct slow_conn *out, const struct conn *c)
{
    struct slice uid = conn_uid(c);

    *out = (struct slow_conn){
        .bytes = conn_queued(c),
        .age_ms = conn_backlog_age(c),
        .port = conn_port(c),
        .uid_len = (uint16_t)(uid.len < SLOWEST_UID ? uid.len : SLOWEST_UID),
    };
    memcpy(out->uid, uid.p, out->uid_len);
    out->peer_port = (uint16_t)conn_peer(c, out->address);
}

static void publish_slowest(struct process *p)
{
    struct slow_conn list[SLOWEST_MAX];
    struct conn *conns[SLOWEST_MAX];
    unsigned n = net_slowest(p->net, conns, SLOWEST_MAX);

    for (unsigned i = 0; i < n; i++)
        describe(&list[i], conns[i]);
    if (n > 0 || p->had_slow)
        slowest_publish(tables_slowest(p->mesh, p->conf, p->h->slot),
                        (uint16_t)p->h->epoch, list, n);
    p->had_slow = n > 0;
}

void figures_publish(struct process *p, uint64_t lag_ms)
{
    unsigned slot = p->h->slot;
    uint64_t lag = slots_get(p->slots, slot, SLOT_LOOP_LAG);

    lag = (lag * (LAG_WEIGHT - 1) + lag_ms * 1000) / LAG_WEIGHT;
    slots_set(p->slots, slot, SLOT_LOOP_LAG, lag);
    slots_set(p->slots, slot, SLOT_HEARTBEAT, clock_ms());
    slots_set(p->slots, slot, SLOT_MEMORY, status_memory(0));
    slots_set(p->slots, slot, SLOT_GENERATION, p->code->generation);
    if (p->vms != NULL)
        slots_set(p->slots, slot, SLOT_VM_MEMORY, vms_memory(p->vms));
    if (p->net != NULL)
        slots_set(p->slots, slot, SLOT_CONNS, net_conns(p->net));
    if (p->tally != NULL)
        publish_slowest(p);
    publish(p);
}
