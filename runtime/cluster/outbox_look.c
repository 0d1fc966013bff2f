/* outbox_look.c - what the outbox knows, for those who send. */
#include "cluster/outbox_state.h"

bool outbox_is_linked(const struct outbox *o)
{
    return o->ready != 0;
}

bool outbox_covers(const struct outbox *o, const struct place *place)
{
    const struct spot *p = cover_find(o, place);

    return p != NULL && p->relays != 0;
}

struct show {
    void (*fn)(void *arg, const struct place *place);
    void *arg;
};

static void show_one(void *arg, struct table_node *node)
{
    const struct spot *p = list_entry(node, const struct spot, node);
    const struct show *s = arg;

    if (p->relays != 0)
        s->fn(s->arg, &p->place);
}

void outbox_each_place(struct outbox *o,
                       void (*fn)(void *arg, const struct place *place),
                       void *arg)
{
    struct show s = {fn, arg};
    uint64_t cursor = 0;

    do {
        table_scan(&o->spots, &cursor, show_one, &s);
    } while (cursor != 0);
}

unsigned outbox_fill(const struct outbox *o)
{
    uint64_t count = (uint64_t)o->figures.count * 100 / o->max.count;
    uint64_t bytes = (uint64_t)o->figures.bytes * 100 / o->max.bytes;

    return (unsigned)(count > bytes ? count : bytes);
}
