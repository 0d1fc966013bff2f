/* abroad_groups.c - who has put a uid into a group may send to the group next,
 * and the uid gets it.
 *
 * On its node the change and what is sent behind it take the same way.  So do
 * they here: while it is not known that the change has arrived everywhere, and
 * for some time after that, what is sent to the group goes to all nodes, as
 * the change did, and behind it.  When its worker has taken a change it has
 * told relays of the group before it answers, so from then on they know.  The
 * time is for a relay that takes another one's place.
 *
 * XXX: with very many changes under way, all groups count as changing. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "vm/abroad_state.h"
#include "vm/people.h"
#include "vm/state.h"

enum {
    CHANGES_MAX = 256, /* that are told apart */
    GRACE = 1000       /* ms */
};

/* Of a group, in the order in which they were made. */
struct change {
    struct pending pending; /* first */
    struct list node;       /* of abroad.changes */
    uint64_t group;         /* hash of its topic */
    uint64_t settled;       /* when; 0: not yet */
};

static void drop(struct abroad *a, struct change *c)
{
    list_del(&c->pending.node);
    list_del(&c->node);
    a->nchanges--;
    mem_free(c);
}

static void on_done(struct abroad *a, struct pending *p, int outcome)
{
    (void)a;
    (void)outcome;
    ((struct change *)(void *)p)->settled = clock_ms();
    list_del(&p->node);
}

static void on_drop(struct abroad *a, struct pending *p)
{
    drop(a, (struct change *)(void *)p);
}

static void drop_old(struct abroad *a, uint64_t now)
{
    while (!list_empty(&a->changes)) {
        struct change *c = list_entry(a->changes.next, struct change, node);

        if (c->settled == 0 || now < c->settled + GRACE)
            return;
        drop(a, c);
    }
}

struct pending *abroad_add_change(struct abroad *a, struct slice topic)
{
    struct change *c = mem_zalloc(sizeof(*c));

    drop_old(a, clock_ms());
    c->pending.done = on_done;
    c->pending.drop = on_drop;
    c->group = hash_bytes(&a->all->people->hash_key, topic);
    list_add(&a->pending, &c->pending.node);
    list_add(&a->changes, &c->node);
    a->nchanges++;
    return &c->pending;
}

bool abroad_is_changing(struct abroad *a, struct slice topic)
{
    uint64_t group;
    struct list *it;

    drop_old(a, clock_ms());
    if (list_empty(&a->changes) || a->nchanges > CHANGES_MAX)
        return a->nchanges > CHANGES_MAX;
    group = hash_bytes(&a->all->people->hash_key, topic);
    list_each (it, &a->changes) {
        if (list_entry(it, struct change, node)->group == group)
            return true;
    }
    return false;
}

void abroad_drop_changes(struct abroad *a)
{
    while (!list_empty(&a->changes))
        drop(a, list_entry(a->changes.next, struct change, node));
}
