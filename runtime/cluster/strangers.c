/* strangers.c - see strangers.h.
 *
 * Looking for those of one origin is a walk over a list that is short, and
 * happens only when it is full. */
#include "cluster/strangers.h"

#include <stddef.h>

#include "base/assert.h"

static struct stranger *entry(struct list *node)
{
    return list_entry(node, struct stranger, node);
}

static struct stranger *oldest(const struct crowd *c)
{
    return c->count > 0 ? entry(c->list.next) : NULL;
}

void strangers_init(struct strangers *s)
{
    s->silent.count = s->asked.count = 0;
    list_init(&s->silent.list);
    list_init(&s->asked.list);
}

/* Of this origin, when it has its share. */
static struct stranger *oldest_of(const struct crowd *c, uint64_t origin)
{
    struct stranger *first = NULL;
    unsigned n = 0;
    struct list *it;

    list_each (it, &c->list) {
        if (entry(it)->origin != origin)
            continue;
        if (n++ == 0)
            first = entry(it);
    }
    return n >= STRANGERS_SHARE ? first : NULL;
}

static struct stranger *join(struct crowd *c, struct stranger *one)
{
    struct stranger *out = NULL;

    if (c->count == STRANGERS_MAX) {
        out = oldest_of(c, one->origin);
        if (out == NULL)
            out = oldest(c);
        strangers_del(out);
    }
    one->crowd = c;
    c->count++;
    list_add(&c->list, &one->node);
    return out;
}

struct stranger *strangers_add(struct strangers *s, struct stranger *one,
                               uint64_t origin)
{
    sd_assert(one->crowd == NULL);
    one->origin = origin;
    return join(&s->silent, one);
}

struct stranger *strangers_believe(struct strangers *s, struct stranger *one)
{
    sd_assert(one->crowd == &s->silent);
    strangers_del(one);
    return join(&s->asked, one);
}

struct stranger *strangers_oldest(const struct strangers *s)
{
    return s->silent.count > 0 ? oldest(&s->silent) : oldest(&s->asked);
}

void strangers_del(struct stranger *one)
{
    if (one->crowd == NULL)
        return;
    one->crowd->count--;
    one->crowd = NULL;
    list_del(&one->node);
}
