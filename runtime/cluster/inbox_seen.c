/* inbox_seen.c - see inbox_seen.h. */
#include "cluster/inbox_seen.h"

#include "base/assert.h"
#include "base/mem.h"
#include "cluster/inbox.h"
#include "cluster/owner.h"

#define SEENS_MAGIC 0x5ee45eedu

enum {
    PRUNE = 4,        /* ids that one new one may push out */
    SEEN_KEPT = 16384 /* free blocks */
};

struct seens {
    unsigned magic;
    uint32_t most, most_sources;
    uint32_t pending;
    uint64_t evicted, numbers;
    struct table table, sources;
    struct list by_age, waiting, used;
    struct source *last; /* who sent last */
    struct list blocks;  /* free */
    uint32_t free_blocks;
};

struct seens *seens_new(uint32_t most, uint32_t most_sources)
{
    struct seens *s = mem_zalloc(sizeof(*s));

    s->magic = SEENS_MAGIC;
    s->most = most;
    s->most_sources = most_sources;
    list_init(&s->by_age);
    list_init(&s->waiting);
    list_init(&s->used);
    list_init(&s->blocks);
    return s;
}

static struct seen *by_age(struct list *l)
{
    return list_entry(l, struct seen, age);
}

static void free_waiters(struct seen *e)
{
    while (e->waiters != NULL) {
        struct seen_waiter *w = e->waiters;

        e->waiters = w->next;
        mem_free(w);
    }
}

void seens_remove(struct seens *s, struct seen *e)
{
    free_waiters(e);
    s->pending -= e->outcome == INBOX_LATER;
    list_del(&e->age);
    table_del(&s->table, &e->node);
    e->source->node.number--;
    if (s->free_blocks >= SEEN_KEPT) {
        mem_free(e);
        return;
    }
    list_add(s->blocks.next, &e->age); /* in front, as it is warm */
    s->free_blocks++;
}

static void free_source(struct seens *s, struct source *from)
{
    sd_assert(from->node.number == 0);
    if (s->last == from)
        s->last = NULL;
    list_del(&from->used);
    table_del(&s->sources, &from->node);
    mem_free(from);
}

void seens_free(struct seens **sp)
{
    struct seens *s = *sp;

    sd_check(s, SEENS_MAGIC);
    while (!list_empty(&s->by_age))
        seens_remove(s, by_age(s->by_age.next));
    while (!list_empty(&s->waiting))
        seens_remove(s, by_age(s->waiting.next));
    while (!list_empty(&s->used))
        free_source(s, list_entry(s->used.next, struct source, used));
    while (!list_empty(&s->blocks)) {
        struct seen *e = by_age(s->blocks.next);

        list_del(&e->age);
        mem_free(e);
    }
    table_fini(&s->table);
    table_fini(&s->sources);
    s->magic = 0;
    mem_free(s);
    *sp = NULL;
}

/* --- sources -------------------------------------------------------------- */

static bool is_at(const struct source *from, const struct place *p)
{
    return from->place.boot == p->boot && from->place.epoch == p->epoch &&
           from->place.slot == p->slot;
}

static struct source *source_of(struct table_node *node)
{
    return list_entry(node, struct source, node);
}

static struct source *make_source(struct seens *s, const struct place *place,
                                  uint32_t hash, uint64_t now)
{
    struct source *from;

    if (s->sources.count >= s->most_sources) {
        from = list_entry(s->used.next, struct source, used);
        if (from->used_at + INBOX_SOURCE_LEAST > now || from->node.number > 0)
            return NULL;
        free_source(s, from);
    }
    from = mem_zalloc(sizeof(*from));
    from->place = *place;
    from->number = ++s->numbers;
    list_init(&from->used);
    table_add(&s->sources, &from->node, hash);
    return from;
}

struct source *seens_source(struct seens *s, const struct place *place,
                            uint64_t now)
{
    uint64_t x = place->boot ^ (uint64_t)place->epoch << 8 ^ place->slot;
    struct table_node *node;
    struct source *from = s->last;
    uint32_t hash;

    sd_check(s, SEENS_MAGIC);
    if (from == NULL || !is_at(from, place)) {
        hash = (uint32_t)(owner_score(x, 1) >> 16);
        node = table_first(&s->sources, hash);
        while (node != NULL && !is_at(source_of(node), place))
            node = table_next(node);
        from =
            node != NULL ? source_of(node) : make_source(s, place, hash, now);
        if (from == NULL)
            return NULL;
        list_del(&from->used);
        list_add(&s->used, &from->used);
        s->last = from;
    }
    from->used_at = now;
    return from;
}

/* --- ids ------------------------------------------------------------------ */

static uint32_t hash_id(const struct source *from, uint64_t counter)
{
    return (uint32_t)(owner_score(counter, from->number) >> 16);
}

struct seen *seens_find(const struct seens *s, const struct source *from,
                        uint64_t counter)
{
    struct table_node *node = table_first(&s->table, hash_id(from, counter));

    for (; node != NULL; node = table_next(node)) {
        struct seen *e = list_entry(node, struct seen, node);

        if (e->source == from && e->counter == counter)
            return e;
    }
    return NULL;
}

/* Drop the oldest id.  What its sender has not settled could come again. */
static void evict(struct seens *s)
{
    struct seen *e = by_age(s->by_age.next);

    if (e->counter >= e->source->base) {
        s->evicted++;
        if (e->counter > e->source->floor)
            e->source->floor = e->counter;
    }
    seens_remove(s, e);
}

static bool is_over(const struct seen *e, uint64_t now)
{
    return e->counter < e->source->base || e->at + INBOX_SEEN_MS <= now;
}

static void prune(struct seens *s, uint64_t now, unsigned most)
{
    for (; most > 0 && !list_empty(&s->by_age); most--) {
        if (!is_over(by_age(s->by_age.next), now) && s->table.count < s->most)
            break;
        evict(s);
    }
}

bool seens_is_full(const struct seens *s)
{
    return s->pending >= s->most;
}

struct seen *seens_add(struct seens *s, struct source *from, uint64_t counter,
                       uint64_t now)
{
    struct seen *e;

    prune(s, now, PRUNE);
    if (!list_empty(&s->blocks)) {
        e = by_age(s->blocks.next);
        list_del(&e->age);
        s->free_blocks--;
    } else {
        e = mem_alloc(sizeof(*e));
    }
    *e = (struct seen){
        .source = from, .counter = counter, .at = now, .outcome = INBOX_LATER};
    list_add(&s->waiting, &e->age);
    table_add(&s->table, &e->node, hash_id(from, counter));
    from->node.number++;
    s->pending++;
    return e;
}

void seens_settle(struct seens *s, struct seen *e, int outcome)
{
    sd_assert(e->outcome == INBOX_LATER && outcome <= 0);
    e->outcome = (int16_t)outcome;
    s->pending--;
    list_del(&e->age);
    list_add(&s->by_age, &e->age);
    free_waiters(e);
}

void seens_wait(struct seen *e, uint64_t number, uint32_t link,
                uint32_t generation)
{
    struct seen_waiter *w = mem_alloc(sizeof(*w));

    *w = (struct seen_waiter){e->waiters, number, link, generation};
    e->waiters = w;
}

void seens_each_source(struct seens *s, uint32_t uid,
                       void (*fn)(void *arg, const struct source *from,
                                  uint64_t last),
                       void *arg)
{
    struct list *it;

    list_each (it, &s->by_age) {
        struct seen *e = by_age(it);

        if (e->uid == uid && e->source->last < e->counter)
            e->source->last = e->counter;
    }
    list_each (it, &s->used) {
        struct source *from = list_entry(it, struct source, used);

        fn(arg, from, from->last > from->floor ? from->last : from->floor);
        from->last = 0;
    }
}

void seens_tick(struct seens *s, uint64_t now)
{
    struct source *from;

    prune(s, now, UINT32_MAX);
    while (!list_empty(&s->used)) {
        from = list_entry(s->used.next, struct source, used);
        if (from->used_at + INBOX_SOURCE_MS > now || from->node.number > 0)
            break;
        free_source(s, from);
    }
}

uint32_t seens_count(const struct seens *s)
{
    return s->table.count;
}

uint32_t seens_sources(const struct seens *s)
{
    return s->sources.count;
}

uint32_t seens_pending(const struct seens *s)
{
    return s->pending;
}

uint64_t seens_evicted(const struct seens *s)
{
    return s->evicted;
}
