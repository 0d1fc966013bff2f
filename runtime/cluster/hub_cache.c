/* hub_cache.c - see hub_cache.h.
 *
 * What a worker tells of a uid without an entry is kept, too, as an entry
 * that is not complete: a sender that has asked Redis before may tell its
 * list later, and would hide the newer place.
 *
 * A sender's list is as old as its question.  So of what the entry has, only
 * what is newer than everything in the list is kept, and of the list nothing
 * below the floor, which a worker raises who says that it is the only one. */
#include "cluster/hub_cache.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    CHANCES = 16,
    LARGE = 4096, /* uids */
    SPOTS_FEW = 4
};

#define CACHE_MAGIC 0xcac4e00du

struct hub_cache {
    unsigned magic;
    uint32_t most;
    uint64_t evicted;
    struct table table;
    struct list queue;
};

struct hub_cache *hub_cache_new(uint32_t most)
{
    struct hub_cache *c = mem_zalloc(sizeof(*c));

    sd_assert(most > 0);
    c->magic = CACHE_MAGIC;
    c->most = most;
    list_init(&c->queue);
    return c;
}

static void free_uid(struct hub_cache *c, struct hub_uid *e)
{
    list_del(&e->queue);
    table_del(&c->table, &e->node);
    if (e->spot != &e->one)
        mem_free(e->spot);
    mem_free(e);
}

static struct hub_uid *oldest(struct hub_cache *c)
{
    return list_entry(c->queue.next, struct hub_uid, queue);
}

void hub_cache_free(struct hub_cache **cp)
{
    struct hub_cache *c = *cp;

    sd_check(c, CACHE_MAGIC);
    while (!list_empty(&c->queue))
        free_uid(c, oldest(c));
    table_fini(&c->table);
    c->magic = 0;
    mem_free(c);
    *cp = NULL;
}

static struct hub_uid *uid_of(struct table_node *node)
{
    return list_entry(node, struct hub_uid, node);
}

static struct hub_uid *find(const struct hub_cache *c, uint64_t hash,
                            struct slice uid)
{
    struct table_node *node = table_first(&c->table, (uint32_t)hash);

    while (node != NULL &&
           (uid_of(node)->hash != hash ||
            !slice_eq(slice_make(uid_of(node)->name, node->number), uid)))
        node = table_next(node);
    return node != NULL ? uid_of(node) : NULL;
}

/* Who was used since its last turn gets another one, as long as that is
 * found out quickly: using an entry touches nothing but the entry. */
static void evict(struct hub_cache *c)
{
    unsigned i;

    for (i = 0; i < CHANCES && oldest(c)->is_used; i++) {
        struct hub_uid *e = oldest(c);

        e->is_used = false;
        list_del(&e->queue);
        list_add(&c->queue, &e->queue);
    }
    free_uid(c, oldest(c));
    c->evicted++;
}

struct hub_uid *hub_cache_find(struct hub_cache *c, uint64_t hash,
                               struct slice uid)
{
    struct hub_uid *e = find(c, hash, uid);

    if (e != NULL)
        e->is_used = true;
    return e;
}

bool hub_cache_is_large(const struct hub_cache *c)
{
    return c->table.count >= LARGE;
}

void hub_cache_expect(const struct hub_cache *c, const uint64_t *hash,
                      unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++)
        table_expect(&c->table, (uint32_t)hash[i]);
    for (i = 0; i < n; i++)
        table_expect_node(&c->table, (uint32_t)hash[i], sizeof(struct hub_uid));
}

static struct hub_uid *make(struct hub_cache *c, uint64_t hash,
                            struct slice uid)
{
    struct hub_uid *e = hub_cache_find(c, hash, uid);

    if (e != NULL)
        return e;
    if (c->table.count == c->most)
        evict(c);
    e = mem_zalloc(offsetof(struct hub_uid, name) + uid.len);
    e->hash = hash;
    e->node.number = (uint32_t)uid.len;
    e->spot = &e->one;
    memcpy(e->name, uid.p, uid.len);
    table_add(&c->table, &e->node, (uint32_t)hash);
    list_add(&c->queue, &e->queue);
    return e;
}

/* --- spots ---------------------------------------------------------------- */

static bool same_place(const struct place *a, const struct place *b)
{
    return a->boot == b->boot && a->epoch == b->epoch && a->slot == b->slot;
}

static void remove_spot(struct hub_uid *e, unsigned i)
{
    e->spot[i] = e->spot[--e->count];
}

static struct hub_spot *find_spot(const struct hub_uid *e,
                                  const struct place *place)
{
    unsigned i;

    for (i = 0; i < e->count; i++) {
        if (same_place(&e->spot[i].at.place, place))
            return &e->spot[i];
    }
    return NULL;
}

/* For one more.  Most have one place, and most of the others a few. */
static void make_room(struct hub_uid *e)
{
    bool is_full = e->count >= SPOTS_FEW && (e->count & (e->count - 1)) == 0;

    if (e->count == 1 && e->spot == &e->one) {
        e->spot = mem_alloc(SPOTS_FEW * sizeof(*e->spot));
        e->spot[0] = e->one;
    } else if (e->spot != &e->one && is_full) {
        e->spot = mem_realloc(e->spot, (size_t)2 * e->count * sizeof(*e->spot));
    }
}

static void add_spot(struct hub_uid *e, const struct frames_spot *at)
{
    struct hub_spot *s = find_spot(e, &at->place);

    if (at->bind < e->floor || (s == NULL && e->count == FRAMES_PLACES))
        return;
    if (s == NULL) {
        make_room(e);
        s = &e->spot[e->count++];
        *s = (struct hub_spot){.at = *at};
    }
    if (s->at.bind < at->bind)
        s->at.bind = at->bind;
}

static uint64_t newest_of(struct slice spots)
{
    struct frames_spot at;
    uint64_t newest = 0;

    while (frames_next_spot(&at, &spots))
        newest = at.bind > newest ? at.bind : newest;
    return newest;
}

static bool has_place(struct slice spots, const struct place *place)
{
    struct frames_spot at;

    while (frames_next_spot(&at, &spots)) {
        if (same_place(&at.place, place))
            return true;
    }
    return false;
}

/* --- learning ------------------------------------------------------------- */

struct hub_uid *hub_cache_learn(struct hub_cache *c, uint64_t hash,
                                struct slice uid, struct slice spots,
                                bool is_sole, uint32_t opening)
{
    uint64_t newest = newest_of(spots);
    struct hub_uid *e = make(c, hash, uid);
    struct frames_spot at;
    unsigned i;

    for (i = e->count; i-- > 0;) {
        if (e->spot[i].at.bind <= newest &&
            !has_place(spots, &e->spot[i].at.place))
            remove_spot(e, i);
    }
    if (e->count == 0)
        e->floor = 0; /* nothing is known that would be better */
    while (frames_next_spot(&at, &spots))
        add_spot(e, &at);
    e->is_complete = true;
    e->is_sole = is_sole;
    e->opening = opening;
    return e;
}

static void come(struct hub_uid *e, const struct frames_locate *l,
                 const struct place *place, uint32_t opening)
{
    struct frames_spot at = {*place, l->bind};
    unsigned i;

    if (l->is_sole && l->bind > e->floor) {
        for (i = e->count; i-- > 0;) {
            if (e->spot[i].at.bind < l->bind)
                remove_spot(e, i);
        }
        e->floor = l->bind;
        e->is_complete = e->is_sole = true;
        e->opening = opening;
    }
    add_spot(e, &at);
}

void hub_cache_locate(struct hub_cache *c, uint64_t hash,
                      const struct frames_locate *l, const struct place *place,
                      uint32_t opening)
{
    struct hub_uid *e = find(c, hash, l->uid);
    struct hub_spot *s;

    if (l->is_here) {
        come(make(c, hash, l->uid), l, place, opening);
        return;
    }
    s = e != NULL ? find_spot(e, place) : NULL;
    if (s == NULL || s->at.bind > l->bind)
        return;
    remove_spot(e, (unsigned)(s - e->spot));
    if (e->count == 0)
        free_uid(c, e);
}

void hub_cache_drop(struct hub_cache *c, uint64_t hash,
                    const struct place *place)
{
    struct table_node *node = table_first(&c->table, (uint32_t)hash);
    struct hub_spot *s;

    while (node != NULL && uid_of(node)->hash != hash)
        node = table_next(node);
    if (node == NULL || (s = find_spot(uid_of(node), place)) == NULL)
        return;
    remove_spot(uid_of(node), (unsigned)(s - uid_of(node)->spot));
    if (uid_of(node)->count == 0)
        free_uid(c, uid_of(node));
}

uint32_t hub_cache_count(const struct hub_cache *c)
{
    return c->table.count;
}

uint64_t hub_cache_evicted(const struct hub_cache *c)
{
    return c->evicted;
}
