/* cluster_status.c - see cluster_status.h.  Members are everybody's, links our
 * own: those of the workers of this node, or to the relays of this dispatch. */
#include "proc/cluster_status.h"

#include <inttypes.h>

#include "base/clock.h"
#include "cluster/address.h"
#include "cluster/meta.h"
#include "cluster/seal.h"
#include "codec/json.h"
#include "ipc/counters.h"
#include "proc/tables.h"

static void put_text(struct buf *out, const char *key, struct slice text)
{
    buf_printf(out, "\"%s\":", key);
    if (json_write_string(out, text) < 0)
        buf_append_str(out, "\"?\"");
    buf_append_str(out, ",");
}

static void put_member(struct buf *out, const struct gossip_member *m,
                       bool is_self)
{
    char at[ADDRESS_TEXT];
    struct meta meta;

    (void)meta_read(&meta, m->meta);
    address_write(at, &m->address);
    buf_append_str(out, is_self ? "{" : ",{");
    put_text(out, "name", m->name);
    put_text(out, "kind",
             slice_str(m->kind == GOSSIP_NODE ? "node" : "dispatch"));
    put_text(out, "state", slice_str(gossip_state_name(m->state)));
    put_text(out, "address", slice_str(at));
    put_text(out, "version", slice_str(meta.version));
    buf_printf(out,
               "\"boot\":\"%016" PRIx64 "\",\"generation\":%u,\"conns\":%u,"
               "\"draining\":%s,\"relays\":%u,\"self\":%s}",
               m->boot, meta.generation, meta.conns,
               meta.is_draining ? "true" : "false", meta.nrelays,
               is_self ? "true" : "false");
}

/* Somebody dead whose name lives on: it was started anew. */
static bool is_replaced(const struct gossip *g, const struct gossip_member *m)
{
    unsigned i;

    for (i = 0; i < gossip_living(g); i++)
        if (slice_eq(gossip_at(g, i)->name, m->name))
            return true;
    return slice_eq(gossip_self(g)->name, m->name);
}

/* A member's name, of dead ones too. */
static struct slice name_of(const struct gossip *g, uint64_t boot)
{
    const struct gossip_member *m = gossip_find(g, boot);

    if (gossip_self(g)->boot == boot)
        return gossip_self(g)->name;
    return m != NULL ? m->name : slice_str("?");
}

static void put_link(struct buf *out, const char *process, struct slice to,
                     const struct linkboard_link *l, bool is_first)
{
    uint64_t now = clock_ms();
    bool is_open = l->heard != 0;
    double silent =
        is_open && now > l->heard ? (double)(now - l->heard) / 1000 : 0;

    buf_append_str(out, is_first ? "{" : ",{");
    put_text(out, "process", slice_str(process));
    put_text(out, "to", to);
    put_text(out, "state", slice_str(is_open ? "open" : "closed"));
    buf_printf(out,
               "\"%s\":%u,\"unsent\":%u,\"silent\":%.3f,"
               "\"round_trip\":%.6f,\"received\":%" PRIu64 ",\"sent\":%" PRIu64
               ",\"filters\":%u,\"flooded\":%s}",
               l->is_relay ? "relay" : "worker", l->index, l->unsent, silent,
               (double)l->round_trip / 1e6, l->received, l->sent, l->filters,
               l->is_flooded ? "true" : "false");
}

static unsigned put_links_of(struct buf *out, const struct gossip *g,
                             const struct process *p, unsigned slot,
                             unsigned before)
{
    struct linkboard_list list;
    char name[32];
    unsigned i;

    if (!linkboard_read(tables_links(p->mesh, p->conf, slot),
                        slots_epoch(p->slots, slot), &list))
        return 0;
    slots_name(name, sizeof(name), p->slots, slot);
    for (i = 0; i < list.n; i++)
        put_link(out, name, name_of(g, list.link[i].boot), &list.link[i],
                 before + i == 0);
    return i;
}

/* What a worker has sent to other nodes, and keeps. */
static void put_queue(struct buf *out, const struct process *p, unsigned slot)
{
    uint64_t v[COUNTERS], dropped = 0;
    char name[32];

    counters_read(mesh_counters(p->mesh, slot), v);
    for (unsigned i = 0; i < COUNTERS_OUTCOMES; i++)
        dropped += v[COUNT_FAR_DROPPED + i];
    slots_name(name, sizeof(name), p->slots, slot);
    buf_append_str(out, slot == 0 ? "{" : ",{");
    put_text(out, "process", slice_str(name));
    buf_printf(out,
               "\"accepted\":%" PRIu64 ",\"delivered\":%" PRIu64
               ",\"dropped\":%" PRIu64 ",\"in_flight\":%" PRIu64
               ",\"busy\":%" PRIu64 ",\"unacknowledged\":%" PRIu64
               ",\"bytes\":%" PRIu64 ",\"resent\":%" PRIu64
               ",\"received\":%" PRIu64 ",\"duplicate\":%" PRIu64 "}",
               v[COUNT_FAR_ACCEPTED], v[COUNT_FAR_DELIVERED],
               dropped + v[COUNT_FAR_CRASHED], v[COUNT_FAR_IN_FLIGHT],
               v[COUNT_FAR_BUSY], v[COUNT_FAR_KEPT], v[COUNT_FAR_BYTES],
               v[COUNT_FAR_AGAIN], v[COUNT_FAR_TAKEN], v[COUNT_FAR_DOUBLES]);
}

static void put_gossip(struct buf *out, const struct gossip *g)
{
    const struct gossip_counters *c = gossip_counters(g);
    const struct {
        const char *name;
        uint64_t n;
    } all[] = {
        {"packets_in", c->packets_in},
        {"packets_out", c->packets_out},
        {"bytes_in", c->bytes_in},
        {"bytes_out", c->bytes_out},
        {"bad", c->bad},
        {"refused", c->refused},
        {"probes", c->probes},
        {"failed_probes", c->failed_probes},
        {"suspicions", c->suspicions},
        {"deaths", c->deaths},
        {"refutations", c->refutations},
        {"vetoes", c->vetoes},
        {"late", c->late},
        {"syncs", c->syncs},
        {"conflicts", c->conflicts},
    };
    unsigned i;

    buf_printf(out, "\"slowness\":%u", gossip_awareness(g));
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        buf_printf(out, ",\"%s\":%" PRIu64, all[i].name, all[i].n);
}

/* Our own broadcasts that come back are no loss. */
static void put_dropped(struct buf *out, const struct seal *s)
{
    const char *comma = "";
    int v;

    for (v = SEAL_OPENED + 1; v < SEAL_VERDICTS; v++) {
        if (v == SEAL_OWN || seal_count(s, v) == 0)
            continue;
        buf_printf(out, "%s{\"reason\":\"%s\",\"count\":%" PRIu64 "}", comma,
                   seal_word(v), seal_count(s, v));
        comma = ",";
    }
}

void cluster_status_json(const struct gossip_udp *u, const struct process *p,
                         struct buf *out)
{
    const struct gossip *g = gossip_udp_look(u);
    unsigned i, n = 0;

    buf_append_str(out, "{\"members\":[");
    put_member(out, gossip_self(g), true);
    for (i = 0; i < gossip_count(g); i++)
        if (i < gossip_living(g) || !is_replaced(g, gossip_at(g, i)))
            put_member(out, gossip_at(g, i), false);
    buf_append_str(out, "],\"links\":[");
    for (i = 0; i < slots_count(p->slots); i++) {
        enum slot_role role = slots_role(p->slots, i);

        if (role == SLOT_WORKER || role == SLOT_RELAY)
            n += put_links_of(out, g, p, i, n);
    }
    buf_append_str(out, "],\"queues\":[");
    for (i = 0; i < slots_count(p->slots); i++)
        if (slots_role(p->slots, i) == SLOT_WORKER)
            put_queue(out, p, i);
    buf_append_str(out, "],\"gossip\":{");
    put_gossip(out, g);
    buf_append_str(out, "},\"dropped\":[");
    put_dropped(out, gossip_udp_seal(u));
    buf_append_str(out, "]}");
}
