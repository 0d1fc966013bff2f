/* outbox_cover.c - which relay leads where.
 *
 * Each relay tells the places it has links to.  A place is one spot with a
 * mask of the relays that cover it.  A uid goes to the relay that owns its
 * name, of those that cover its places when these are known; a publish to the
 * owner of its name among those that cover every place, and when there is
 * none, to as many as it takes.  A spot that loses its last relay is missing
 * for a while, see outbox_missing.c. */
#include "base/err.h"
#include "base/mem.h"
#include "cluster/outbox_state.h"
#include "cluster/owner.h"

/* Those that fill a slot one after the other are found together. */
static uint32_t hash_slot(const struct place *p)
{
    return (uint32_t)(owner_score(p->boot ^ p->slot, 1) >> 16);
}

static bool same_place(const struct place *a, const struct place *b)
{
    return a->boot == b->boot && a->epoch == b->epoch && a->slot == b->slot;
}

static struct spot *spot_of(struct table_node *node)
{
    return list_entry(node, struct spot, node);
}

struct table_node *cover_first(const struct outbox *o, const struct place *p)
{
    return table_first(&o->spots, hash_slot(p));
}

struct spot *cover_find(const struct outbox *o, const struct place *p)
{
    struct table_node *node = cover_first(o, p);

    while (node != NULL && !same_place(&spot_of(node)->place, p))
        node = table_next(node);
    return node != NULL ? spot_of(node) : NULL;
}

/* --- picking -------------------------------------------------------------- */

struct outbox_link *cover_best(const struct outbox *o, uint64_t hash,
                               uint64_t mask)
{
    struct outbox_link *best = NULL;
    uint64_t high = 0;

    for (mask &= o->ready; mask != 0; mask &= mask - 1) {
        struct outbox_link *l = o->link[__builtin_ctzll(mask)];
        uint64_t score = owner_score(hash, l->id);

        if (best == NULL || score > high) {
            best = l;
            high = score;
        }
    }
    return best;
}

static uint64_t bit_of(const struct outbox_link *l)
{
    return l != NULL ? UINT64_C(1) << l->index : 0;
}

/* The relays that cover the most of a uid's places. */
static uint64_t most_covering(const struct outbox *o, struct slice spots)
{
    uint8_t count[OUTBOX_LINKS] = {0}, most = 1;
    struct frames_spot at;
    uint64_t mask = 0;
    unsigned i;

    while (frames_next_spot(&at, &spots)) {
        const struct spot *p = cover_find(o, &at.place);
        uint64_t left = p != NULL ? p->relays : 0;

        for (; left != 0; left &= left - 1)
            count[__builtin_ctzll(left)]++;
    }
    for (i = 0; i < OUTBOX_LINKS; i++) {
        if (count[i] > most) {
            most = count[i];
            mask = 0;
        }
        if (count[i] == most)
            mask |= UINT64_C(1) << i;
    }
    return mask;
}

struct gather {
    const struct outbox *o;
    uint64_t hash, chosen;
};

static void add_relay_for(void *arg, struct table_node *node)
{
    const struct spot *p = spot_of(node);
    struct gather *g = arg;

    if (p->place.boot != g->o->boot && p->relays != 0 &&
        (p->relays & g->chosen) == 0)
        g->chosen |= bit_of(cover_best(g->o, g->hash, p->relays));
}

static uint64_t pick_publish(struct outbox *o, uint64_t hash)
{
    struct gather g = {o, hash, 0};
    uint64_t full = 0, left, cursor = 0;

    for (left = o->ready; left != 0; left &= left - 1) {
        const struct outbox_link *l = o->link[__builtin_ctzll(left)];

        if (l->covered == o->remote)
            full |= bit_of(l);
    }
    if (full != 0 || o->ready == 0)
        return bit_of(cover_best(o, hash, full));
    do {
        table_scan(&o->spots, &cursor, add_relay_for, &g);
    } while (cursor != 0);
    return g.chosen;
}

uint64_t cover_pick(struct outbox *o, const struct lane *s)
{
    struct slice key = slice_make(s->key, s->node.number);
    const struct spot *p;
    struct place place;

    if (s->type == FRAMES_PUBLISH)
        return pick_publish(o, s->hash);
    if (s->type == FRAMES_UID)
        return bit_of(cover_best(o, s->hash,
                                 s->spots.len > 0 ? most_covering(o, s->spots)
                                                  : o->ready));
    (void)frames_next_place(&place, &key);
    p = cover_find(o, &place);
    return bit_of(cover_best(o, s->hash, p != NULL ? p->relays : 0));
}

/* --- what relays tell ----------------------------------------------------- */

void cover_free_spot(struct outbox *o, struct spot *p)
{
    list_del(&p->missing);
    table_del(&o->spots, &p->node);
    mem_free(p);
}

static void add_place(struct outbox *o, struct outbox_link *l,
                      const struct place *place)
{
    struct spot *p = cover_find(o, place);
    bool is_remote = place->boot != o->boot;

    if (p == NULL) {
        if (o->spots.count >= SPOTS)
            return; /* no cluster is that large */
        p = mem_zalloc(sizeof(*p));
        p->place = *place;
        list_init(&p->missing);
        table_add(&o->spots, &p->node, hash_slot(place));
        missing_found(o); /* it may have been there, unseen by us */
    } else if ((p->relays & bit_of(l)) != 0) {
        return;
    } else if (p->relays == 0) {
        list_del(&p->missing);
        missing_found(o);
    }
    if (p->relays == 0 && is_remote) {
        o->remote++;
        o->cover++;
    }
    l->covered += is_remote;
    p->relays |= bit_of(l);
    if (!list_empty(&o->missing))
        missing_succeeded(o, place);
}

static void remove_place(struct outbox *o, struct outbox_link *l,
                         struct spot *p)
{
    bool is_remote = p->place.boot != o->boot;

    o->cover++;
    p->relays &= ~bit_of(l);
    l->covered -= is_remote;
    if (p->relays != 0)
        return;
    if (!is_remote) {
        cover_free_spot(o, p);
        return;
    }
    o->remote--;
    missing_add(o, p);
}

/* Lanes that wait need not do so longer. */
static void wake_waiting(struct outbox *o)
{
    struct list *it;

    list_each (it, &o->waiting)
        wheel_start(&o->waits, &list_entry(it, struct lane, queue)->wait,
                    o->now);
}

int cover_take(struct outbox *o, struct outbox_link *l, struct slice payload)
{
    struct frames_cover c;
    struct place place;

    if (frames_read_cover(&c, payload) < 0)
        return SD_EPROTO;
    l->losses = c.losses;
    if (!l->is_ready) {
        l->is_ready = true;
        if (o->ready == 0)
            missing_linked(o);
        o->ready |= bit_of(l);
        wake_waiting(o);
    }
    while (c.places.len > 0 && frames_next_place(&place, &c.places)) {
        struct spot *p;

        if (c.op == FRAMES_ADD) {
            add_place(o, l, &place);
        } else if ((p = cover_find(o, &place)) != NULL &&
                   (p->relays & bit_of(l)) != 0) {
            remove_place(o, l, p);
        }
    }
    return 0;
}

/* --- ends ----------------------------------------------------------------- */

struct sweep {
    struct list found; /* spots, by `missing`, which they do not use now */
    uint64_t mask;
};

static void sweep_one(void *arg, struct table_node *node)
{
    struct sweep *s = arg;
    struct spot *p = spot_of(node);

    if ((p->relays & s->mask) != 0)
        list_add(&s->found, &p->missing);
}

void cover_close(struct outbox *o, struct outbox_link *l)
{
    struct sweep s = {.mask = bit_of(l)};
    uint64_t cursor = 0;

    list_init(&s.found);
    do {
        table_scan(&o->spots, &cursor, sweep_one, &s);
    } while (cursor != 0);
    while (!list_empty(&s.found)) {
        struct spot *p = list_entry(s.found.next, struct spot, missing);

        list_del(&p->missing);
        remove_place(o, l, p);
    }
}

void cover_free(struct outbox *o)
{
    uint64_t cursor;

    struct sweep s = {.mask = UINT64_MAX};

    while (!list_empty(&o->missing))
        cover_free_spot(o, list_entry(o->missing.next, struct spot, missing));
    list_init(&s.found);
    cursor = 0;
    do {
        table_scan(&o->spots, &cursor, sweep_one, &s);
    } while (cursor != 0);
    while (!list_empty(&s.found))
        cover_free_spot(o, list_entry(s.found.next, struct spot, missing));
    table_fini(&o->spots);
}
