/* metrics_cluster.c - see metrics_cluster.h.
 *
 * Members and datagrams are the agent's own; how links are, workers have
 * written down (ipc/linkboard.h). */
#include "proc/metrics_cluster.h"

#include <inttypes.h>
#include <stdio.h>

#include "cluster/gossip_udp.h"
#include "cluster/seal.h"
#include "proc/expose.h"
#include "proc/membership.h"
#include "proc/tables.h"

enum {
    STATES = GOSSIP_LEFT + 1,
    KINDS = GOSSIP_DISPATCH + 1
};

/* {node="a" and no end yet. */
static void put_name(struct buf *out, const struct metrics *m, const char *name)
{
    buf_printf(out, "%s{node=\"", name);
    expose_escaped(out, m->node);
    buf_append_str(out, "\"");
}

/* --- members -------------------------------------------------------------- */

static void count_member(unsigned n[KINDS][STATES],
                         const struct gossip_member *m)
{
    if (m->kind < KINDS && m->state < STATES)
        n[m->kind][m->state]++;
}

static void put_members(struct buf *out, const struct metrics *m,
                        const struct gossip *g)
{
    static const char name[] = "sdlua_cluster_members";
    unsigned n[KINDS][STATES] = {{0}};

    count_member(n, gossip_self(g));
    for (unsigned i = 0; i < gossip_count(g); i++)
        count_member(n, gossip_at(g, i));
    expose_head(out, name, "Members as this one sees them.", false);
    for (unsigned kind = GOSSIP_NODE; kind < KINDS; kind++) {
        for (unsigned state = 0; state < STATES; state++) {
            put_name(out, m, name);
            buf_printf(out, ",kind=\"%s\",state=\"%s\"} %u\n",
                       kind == GOSSIP_NODE ? "node" : "dispatch",
                       gossip_state_name(state), n[kind][state]);
        }
    }
}

/* --- datagrams ------------------------------------------------------------ */

static void put_drops(struct buf *out, const struct metrics *m,
                      const struct gossip_udp *u)
{
    static const char name[] = "sdlua_gossip_dropped_total";

    expose_head(out, name, "Datagrams that were not taken, by reason.", true);
    for (int v = SEAL_OPENED + 1; v < SEAL_VERDICTS; v++) {
        put_name(out, m, name);
        buf_printf(out, ",reason=\"%s\"} %" PRIu64 "\n",
                   seal_word((enum seal_verdict)v),
                   seal_count(gossip_udp_seal(u), (enum seal_verdict)v));
    }
    put_name(out, m, name);
    buf_printf(out, ",reason=\"malformed\"} %" PRIu64 "\n",
               gossip_counters(gossip_udp_look(u))->bad);
}

static void put_counter(struct buf *out, const struct metrics *m,
                        const char *name, const char *help, uint64_t n)
{
    expose_head(out, name, help, true);
    put_name(out, m, name);
    buf_printf(out, "} %" PRIu64 "\n", n);
}

static void put_gossip(struct buf *out, const struct metrics *m,
                       const struct gossip *g)
{
    const struct gossip_counters *c = gossip_counters(g);
    const struct {
        const char *name, *help;
        uint64_t n;
    } list[] = {
        {"sdlua_gossip_packets_received_total", "Packets of members.",
         c->packets_in},
        {"sdlua_gossip_packets_sent_total", "Packets to members.",
         c->packets_out},
        {"sdlua_gossip_bytes_received_total", "Their bytes, opened.",
         c->bytes_in},
        {"sdlua_gossip_bytes_sent_total", "Their bytes, before sealing.",
         c->bytes_out},
        {"sdlua_gossip_probes_total", "Members asked whether they live.",
         c->probes},
        {"sdlua_gossip_probes_failed_total", "Of these, without an answer.",
         c->failed_probes},
        {"sdlua_gossip_suspicions_total", "Members that were suspected.",
         c->suspicions},
        {"sdlua_gossip_deaths_total", "Own verdicts that somebody is dead.",
         c->deaths},
        {"sdlua_gossip_refutations_total", "Denials that we are dead.",
         c->refutations},
    };

    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        put_counter(out, m, list[i].name, list[i].help, list[i].n);
    expose_head(out, "sdlua_gossip_awareness",
                "0: this process answers in time; up to 7: it does not.",
                false);
    put_name(out, m, "sdlua_gossip_awareness");
    buf_printf(out, "} %u\n", gossip_awareness(g));
}

/* --- links of workers ----------------------------------------------------- */

enum link_figure {
    LINK_UP,
    LINK_UNSENT,
    LINK_ROUND_TRIP,
    LINK_FIGURES
};

static double figure_of(const struct linkboard_link *l, enum link_figure what)
{
    switch (what) {
    case LINK_UNSENT:
        return l->unsent;
    case LINK_ROUND_TRIP:
        return (double)l->round_trip / 1e6;
    default:
        return l->heard != 0;
    }
}

/* Whose relay it leads to; also somebody dead has a name. */
static struct slice name_of(const struct gossip *g, uint64_t boot)
{
    const struct gossip_member *m = gossip_find(g, boot);

    if (boot == gossip_self(g)->boot)
        m = gossip_self(g);
    return m != NULL ? m->name : slice_str("?");
}

/* A dispatch that was started anew has links of both lives for a moment: the
 * one that is open counts. */
static bool is_outdone(const struct gossip *g,
                       const struct linkboard_list *list, unsigned n)
{
    const struct linkboard_link *l = &list->link[n];
    struct slice name = name_of(g, l->boot);

    for (unsigned i = 0; i < list->n; i++) {
        const struct linkboard_link *o = &list->link[i];

        if (i == n || o->index != l->index ||
            !slice_eq(name_of(g, o->boot), name))
            continue;
        if ((o->heard != 0) == (l->heard != 0) ? i < n : o->heard != 0)
            return true;
    }
    return false;
}

static void put_link(struct buf *out, const struct metrics *m,
                     const struct gossip *g, const char *name,
                     const struct linkboard_link *l)
{
    struct slice to = name_of(g, l->boot);
    char text[GOSSIP_NAME + 1];

    snprintf(text, sizeof(text), "%.*s", (int)to.len, to.p);
    put_name(out, m, name);
    buf_append_str(out, ",to=\"");
    expose_escaped(out, text);
    buf_printf(out, "\",relay=\"%u\"", l->index);
}

static void put_links(struct buf *out, const struct metrics *m,
                      const struct gossip *g, const char *name,
                      enum link_figure what)
{
    const struct slots *slots = mesh_slots(m->mesh);
    struct linkboard_list list;

    for (unsigned i = 0; i < slots_count(slots); i++) {
        if (slots_role(slots, i) != SLOT_WORKER ||
            !linkboard_read(tables_links(m->mesh, m->conf, i),
                            slots_epoch(slots, i), &list))
            continue;
        for (unsigned n = 0; n < list.n; n++) {
            if ((what != LINK_UP && list.link[n].heard == 0) ||
                is_outdone(g, &list, n))
                continue;
            put_link(out, m, g, name, &list.link[n]);
            buf_printf(out, ",role=\"worker\",index=\"%u\"} %.15g\n", i,
                       figure_of(&list.link[n], what));
        }
    }
}

void metrics_cluster(const struct metrics *m, struct buf *out)
{
    static const struct {
        const char *name, *help;
    } figures[LINK_FIGURES] = {
        [LINK_UP] = {"sdlua_link_up", "Is the link to this relay open?"},
        [LINK_UNSENT] = {"sdlua_link_unsent_bytes", "Bytes that wait there."},
        [LINK_ROUND_TRIP] = {"sdlua_link_round_trip_seconds",
                             "A beat there and back."},
    };
    const struct gossip *g;

    if (m->membership == NULL)
        return;
    g = membership_look(m->membership);
    put_members(out, m, g);
    put_drops(out, m, membership_udp(m->membership));
    put_gossip(out, m, g);
    for (unsigned i = 0; i < LINK_FIGURES; i++) {
        expose_head(out, figures[i].name, figures[i].help, false);
        put_links(out, m, g, figures[i].name, (enum link_figure)i);
    }
}
