/* teller_leaving.c - filters that nobody holds any more.
 *
 * A filter that has lost its last holder is taken back a while later, unless
 * somebody holds it then.  A conn that moves to another worker of our node is
 * thus wanted by the old one until every relay has heard of it from the new
 * one, and who comes and goes all the time is told once.  Those that linger
 * are of two ages: the old ones are taken back, slice by slice, then the young
 * ones are the old ones. */
#include <string.h>

#include "base/mem.h"
#include "cluster/teller_state.h"

/* A filter that has lost its last holder. */
struct leaving {
    struct list node;
    enum frames_kind kind;
    uint16_t len;
    char text[];
};

static void drop(struct teller *t, struct leaving *l)
{
    list_del(&l->node);
    mem_free(l);
    t->figures.leaving--;
}

static struct leaving *first(struct teller *t)
{
    struct list *from = list_empty(&t->old) ? &t->young : &t->old;

    return list_entry(from->next, struct leaving, node);
}

static void take_back_first(struct teller *t)
{
    struct leaving *l = first(t);
    struct frames_interest change = {.op = FRAMES_REMOVE,
                                     .kind = l->kind,
                                     .name = slice_make(l->text, l->len)};

    if (topics_count(teller_topics(t, l->kind), change.name) == 0)
        teller_tell(t, &change);
    drop(t, l);
}

void leaving_add(struct teller *t, enum frames_kind kind, struct slice filter)
{
    struct leaving *l;

    if (list_empty(&t->hearers))
        return;
    l = mem_alloc(sizeof(*l) + filter.len);
    l->kind = kind;
    l->len = (uint16_t)filter.len;
    memcpy(l->text, filter.p, filter.len);
    list_add(&t->young, &l->node);
    if (++t->figures.leaving > t->max.filters / TELLER_SHARE)
        take_back_first(t);
}

void leaving_end_some(struct teller *t, uint64_t now)
{
    uint32_t n = 0;

    if (now < t->old_at)
        return;
    while (!list_empty(&t->old) && n++ < t->max.slice)
        take_back_first(t);
    if (!list_empty(&t->old) || list_empty(&t->young))
        return;
    t->old = t->young;
    t->old.next->prev = t->old.prev->next = &t->old;
    list_init(&t->young);
    t->old_at = now + t->max.linger_ms;
}

void leaving_drop(struct teller *t)
{
    while (t->figures.leaving > 0)
        drop(t, first(t));
}
