/* census.c - see census.h.
 *
 * An agent that takes over from another knows nobody at first.  Would it write
 * that, all other nodes were gone for the workers until it is told of them
 * again, and a count over the cluster were complete without them.  So what the
 * former one knew stays until there was time to hear of it; whoever is heard
 * of meanwhile, alive or dead, is as we know it. */
#include "proc/census.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cluster/meta.h"

void census_open(struct census *c)
{
    struct roster_list *list = mem_zalloc(sizeof(*list));

    roster_read(c->roster, list);
    if (list->nnodes + list->nrelays > 0)
        c->former = list;
    else
        mem_free(list);
}

void census_forget(struct census *c)
{
    mem_free(c->former);
    c->former = NULL;
}

void census_close(struct census *c)
{
    census_forget(c);
}

/* --- those we know -------------------------------------------------------- */

static void add_relays(struct roster_list *list, const struct gossip_member *m)
{
    struct meta meta;
    unsigned i;

    if (meta_read(&meta, m->meta) < 0)
        return;
    for (i = 0; i < meta.nrelays && list->nrelays < ROSTER_RELAYS; i++) {
        struct roster_relay *r = &list->relays[list->nrelays++];

        r->boot = m->boot;
        r->index = (uint16_t)i;
        r->port = meta.relays[i];
        memcpy(r->ip, m->address.ip, sizeof(r->ip));
        snprintf(r->dispatch, sizeof(r->dispatch), "%.*s", (int)m->name.len,
                 m->name.p);
    }
}

/* Ascending: roster_has() halves. */
static void add_node(struct roster_list *list, uint64_t boot)
{
    uint32_t at = list->nnodes;

    if (at == ROSTER_NODES)
        return;
    for (; at > 0 && list->nodes[at - 1] > boot; at--)
        list->nodes[at] = list->nodes[at - 1];
    list->nodes[at] = boot;
    list->nnodes++;
}

static void add_member(const struct census *c, struct roster_list *list,
                       const struct gossip_member *m)
{
    if (!c->is_wanted(c->arg, m))
        return;
    add_relays(list, m);
    if (m->kind == GOSSIP_NODE)
        add_node(list, m->boot);
}

/* --- and those we do not know yet ----------------------------------------- */

static void add_former(const struct census *c, struct roster_list *list,
                       const struct gossip *g)
{
    const struct roster_list *former = c->former;
    unsigned i;

    for (i = 0; i < former->nnodes; i++)
        if (gossip_find(g, former->nodes[i]) == NULL)
            add_node(list, former->nodes[i]);
    for (i = 0; i < former->nrelays && list->nrelays < ROSTER_RELAYS; i++)
        if (gossip_find(g, former->relays[i].boot) == NULL)
            list->relays[list->nrelays++] = former->relays[i];
}

/* --- names ---------------------------------------------------------------- */

/* A walk along the former names: both lists ascend. */
struct walk {
    const struct roster_list *list;
    unsigned at;
    const char *name; /* of the node `at` */
};

static struct slice former_name(struct walk *w, uint64_t boot)
{
    sd_assert(w->list != NULL);
    for (; w->list->nodes[w->at] != boot; w->at++)
        w->name = roster_next_name(w->list, w->name);
    return slice_str(w->name);
}

static struct slice name_of(const struct gossip *g, struct walk *former,
                            uint64_t boot)
{
    const struct gossip_member *m = gossip_find(g, boot);

    return m != NULL ? m->name : former_name(former, boot);
}

/* In the order of their boots.  Those that do not fit stay empty. */
static void add_names(const struct census *c, struct roster_list *list,
                      const struct gossip *g)
{
    struct walk former = {.list = c->former};
    size_t at = 0;
    unsigned i;

    if (c->former != NULL)
        former.name = c->former->names;
    for (i = 0; i < list->nnodes; i++) {
        struct slice name = name_of(g, &former, list->nodes[i]);

        if (at + name.len + list->nnodes - i < ROSTER_NAMES) {
            memcpy(list->names + at, name.p, name.len);
            at += name.len;
        }
        at++;
    }
}

void census_write(const struct census *c, const struct gossip *g)
{
    struct roster_list *list = mem_zalloc(sizeof(*list));
    unsigned i;

    add_member(c, list, gossip_self(g));
    for (i = 0; i < gossip_living(g); i++)
        add_member(c, list, gossip_at(g, i));
    if (c->former != NULL)
        add_former(c, list, g);
    add_names(c, list, g);
    roster_write(c->roster, list);
    mem_free(list);
}
