/* hub.c - see hub.h: links, and what they tell of themselves.
 *
 * A link has an index, used again, and a generation, which is not: what was
 * remembered of a link that has ended finds nobody, or says that it has to be
 * looked up again. */
#include "cluster/hub.h"

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/hub_state.h"
#include "cluster/owner.h"

enum {
    COVER_PLACES = 256 /* in one frame */
};

static uint32_t or_default(uint32_t given, uint32_t value)
{
    return given > 0 ? given : value;
}

struct hub *hub_new(const struct hub_calls *calls,
                    const struct hub_limits *limits, const struct hash_key *key)
{
    struct hub *h = mem_zalloc(sizeof(*h));

    h->magic = HUB_MAGIC;
    h->calls = *calls;
    h->max = (struct hub_limits){
        .window_count = or_default(limits->window_count, 8 * 1024),
        .window_bytes = or_default(limits->window_bytes, 4 << 20),
        .uids = or_default(limits->uids, 1 << 20),
        .filters = or_default(limits->filters, FRAMES_FILTERS),
    };
    h->key = *key;
    h->losses = 1;
    h->cache = hub_cache_new(h->max.uids);
    h->interests = interests_new(h->max.filters);
    list_init(&h->dirty);
    list_init(&h->flooded);
    return h;
}

static void emit_nothing(void *arg, void *owner, unsigned type,
                         const struct slice *v, unsigned n)
{
    (void)arg;
    (void)owner;
    (void)type;
    (void)v;
    (void)n;
}

void hub_free(struct hub **hp)
{
    struct hub *h = *hp;
    struct transit *t;

    if (h == NULL)
        return;
    sd_check(h, HUB_MAGIC);
    h->calls.emit = emit_nothing;
    while (h->links > 0) {
        if (h->link[h->links - 1] != NULL)
            hub_close(h, h->link[h->links - 1]);
        else
            h->links--;
    }
    hub_cache_free(&h->cache);
    interests_free(&h->interests);
    while ((t = h->free_transit) != NULL) {
        h->free_transit = t->next;
        mem_free(t);
    }
    table_fini(&h->places);
    mem_free(h->link);
    mem_free(h->target);
    h->magic = 0;
    mem_free(h);
    *hp = NULL;
}

/* --- links by place ------------------------------------------------------- */

static uint32_t hash_place(const struct place *p)
{
    uint64_t x = p->boot ^ (uint64_t)p->epoch << 8 ^ p->slot;

    return (uint32_t)(owner_score(x, 1) >> 16);
}

struct hub_link *hub_find(const struct hub *h, const struct place *p)
{
    struct table_node *node = table_first(&h->places, hash_place(p));

    for (; node != NULL; node = table_next(node)) {
        struct hub_link *l = list_entry(node, struct hub_link, node);

        if (l->place.boot == p->boot && l->place.epoch == p->epoch &&
            l->place.slot == p->slot)
            return l;
    }
    return NULL;
}

static void tell_cover(struct hub *h, struct hub_link *to, enum frames_op op,
                       struct slice places)
{
    struct frames_cover c = {.op = op, .losses = h->losses};
    char head[FRAMES_COVER_HEAD];
    struct slice v[2] = {{head, frames_write_cover(head, &c)}, places};

    h->calls.emit(h->calls.arg, to->owner, FRAMES_COVER, v, 2);
}

/* All that we cover, the link itself included; nothing, too, is told. */
static void tell_everything(struct hub *h, struct hub_link *to)
{
    char places[COVER_PLACES * FRAMES_PLACE_SIZE];
    size_t len = 0;
    uint32_t i;

    for (i = 0; i < h->links; i++) {
        if (h->link[i] == NULL || !h->link[i]->is_current)
            continue;
        len += frames_write_place(places + len, &h->link[i]->place);
        if (len == sizeof(places)) {
            tell_cover(h, to, FRAMES_ADD, slice_make(places, len));
            len = 0;
        }
    }
    tell_cover(h, to, FRAMES_ADD, slice_make(places, len));
}

static void tell_others(struct hub *h, const struct hub_link *of,
                        enum frames_op op)
{
    char place[FRAMES_PLACE_SIZE];
    struct slice one = {place, frames_write_place(place, &of->place)};
    uint32_t i;

    for (i = 0; i < h->links; i++) {
        if (h->link[i] != NULL && h->link[i] != of)
            tell_cover(h, h->link[i], op, one);
    }
}

static uint32_t new_index(struct hub *h)
{
    uint32_t i = 0;

    while (i < h->links && h->link[i] != NULL)
        i++;
    if (i == h->room) {
        h->room = h->room > 0 ? h->room * 2 : 16;
        h->link = mem_realloc(h->link, h->room * sizeof(struct hub_link *));
        h->target = mem_realloc(h->target, h->room * sizeof(struct hub_link *));
    }
    if (i == h->links)
        h->links++;
    return i;
}

struct hub_link *hub_open(struct hub *h, void *owner, const struct place *place)
{
    struct hub_link *l = mem_zalloc(sizeof(*l)), *old;

    sd_check(h, HUB_MAGIC);
    l->owner = owner;
    l->place = *place;
    l->index = new_index(h);
    l->generation = ++h->openings;
    list_init(&l->dirty);
    list_init(&l->flooded);
    list_add(&h->flooded, &l->flooded);
    h->link[l->index] = l;
    old = hub_find(h, place);
    if (old != NULL) {
        table_del(&h->places, &old->node);
        old->is_current = false;
    }
    l->is_current = true;
    table_add(&h->places, &l->node, hash_place(place));
    h->figures.links++;
    tell_everything(h, l);
    if (old == NULL)
        tell_others(h, l, FRAMES_ADD);
    return l;
}

void hub_close(struct hub *h, struct hub_link *l)
{
    sd_check(h, HUB_MAGIC);
    h->link[l->index] = NULL;
    interest_drop(h->interests, &l->interest);
    list_del(&l->flooded);
    if (l->is_current) {
        table_del(&h->places, &l->node);
        h->losses++;
        tell_others(h, l, FRAMES_REMOVE);
    }
    hub_lose_all(h, l);
    list_del(&l->dirty);
    h->figures.links--;
    answers_fini(&l->answers);
    unanswered_fini(&l->sent);
    mem_free(l);
}

/* --- what they tell ------------------------------------------------------- */

static int take_locate(struct hub *h, struct hub_link *l, struct slice p)
{
    struct frames_locate told;

    if (frames_read_locate(&told, p) < 0)
        return SD_EPROTO;
    hub_cache_locate(h->cache, hash_bytes(&h->key, told.uid), &told, &l->place,
                     h->openings);
    return 0;
}

static int take_interest(struct hub *h, struct hub_link *l, struct slice p)
{
    struct frames_interest told;

    if (frames_read_interest(&told, p) < 0 ||
        interest_take(h->interests, &l->interest, &told) < 0)
        return SD_EPROTO;
    list_del(&l->flooded);
    if (!interest_is_known(&l->interest))
        list_add(&h->flooded, &l->flooded);
    return 0;
}

int hub_take(struct hub *h, struct hub_link *l, unsigned type, struct slice p,
             uint32_t waited)
{
    sd_check(h, HUB_MAGIC);
    if (frames_is_data(type))
        return hub_route(h, l, type, p, waited);
    switch (type) {
    case FRAMES_ACK:
        return hub_take_acks(h, l, p);
    case FRAMES_NACK:
        return hub_take_nacks(h, l, p);
    case FRAMES_LOCATE:
        return take_locate(h, l, p);
    case FRAMES_INTEREST:
        return take_interest(h, l, p);
    default:
        return SD_EPROTO;
    }
}

struct hub_wants hub_wants(const struct hub_link *l)
{
    return (struct hub_wants){.filters = l->interest.topics.count +
                                         l->interest.groups.count,
                              .is_flooded = !interest_is_known(&l->interest)};
}

struct flush {
    struct hub *h;
    struct hub_link *l;
};

static void emit_answers(void *arg, unsigned type, struct slice p)
{
    struct flush *f = arg;

    f->h->calls.emit(f->h->calls.arg, f->l->owner, type, &p, 1);
}

void hub_turn(struct hub *h)
{
    sd_check(h, HUB_MAGIC);
    while (!list_empty(&h->dirty)) {
        struct hub_link *l = list_entry(h->dirty.next, struct hub_link, dirty);
        struct flush f = {h, l};

        list_del(&l->dirty);
        answers_flush(&l->answers, emit_answers, &f);
    }
}

const struct hub_figures *hub_figures(const struct hub *h)
{
    struct hub_figures *f = (struct hub_figures *)(uintptr_t)&h->figures;

    f->uids = hub_cache_count(h->cache);
    f->evicted = hub_cache_evicted(h->cache);
    return &h->figures;
}
