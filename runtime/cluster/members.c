/* members.c - see members.h.
 *
 * The living are an array in the order in which they are asked; `turn` splits
 * it into those that had their turn in this round and those that have not.
 * Every change keeps to that split, so nobody is asked twice in a round, or
 * never: what bounds the time until a crash is noticed.
 *
 * The digest is a sum per bucket, so one change is one subtraction and one
 * addition, and the order in which members became known does not matter.  It
 * counts the living only: tombstones end at other times elsewhere. */
#include "cluster/members.h"

#include "base/assert.h"
#include "base/mem.h"

#define BY_NAME(link) \
    ((struct member *)(void *)((char *)(link)-offsetof(struct member, by_name)))
#define BY_BOOT(link) \
    ((struct member *)(void *)((char *)(link)-offsetof(struct member, by_boot)))

enum {
    NOWHERE = UINT32_MAX /* neither living nor dead */
};

void members_init(struct members *ms, uint64_t seed)
{
    *ms = (struct members){.dice = {seed}};
    ms->key.k0 = dice_bits(&ms->dice);
    ms->key.k1 = dice_bits(&ms->dice);
}

static void free_member(struct member *m)
{
    if (m->pub.meta.len > 0)
        mem_free((void *)(uintptr_t)m->pub.meta.p);
    mem_free(m);
}

void members_fini(struct members *ms)
{
    while (ms->nliving > 0)
        free_member(ms->living[--ms->nliving]);
    while (ms->ndead > 0)
        free_member(ms->dead[--ms->ndead]);
    if (ms->self != NULL)
        free_member(ms->self);
    mem_free(ms->living);
    mem_free(ms->dead);
    table_fini(&ms->by_boot);
    table_fini(&ms->by_name);
}

/* --- finding -------------------------------------------------------------- */

static uint32_t boot_hash(const struct members *ms, uint64_t boot)
{
    return (uint32_t)dice_mix(boot ^ ms->key.k0);
}

struct member *members_find(const struct members *ms, uint64_t boot)
{
    struct table_node *link = table_first(&ms->by_boot, boot_hash(ms, boot));

    while (link != NULL && BY_BOOT(link)->pub.boot != boot)
        link = table_next(link);
    return link != NULL ? BY_BOOT(link) : NULL;
}

struct member *members_named(const struct members *ms, struct slice name,
                             const struct member *m)
{
    struct table_node *link;

    if (m != NULL)
        link = table_next(&m->by_name);
    else
        link = table_first(&ms->by_name, (uint32_t)hash_bytes(&ms->key, name));
    while (link != NULL && !slice_eq(BY_NAME(link)->pub.name, name))
        link = table_next(link);
    return link != NULL ? BY_NAME(link) : NULL;
}

/* --- making --------------------------------------------------------------- */

struct member *members_add(struct members *ms, const struct gossip_update *u)
{
    struct member *m = mem_zalloc(sizeof(*m));
    uint32_t room;

    if (members_count(ms) == ms->room) {
        room = ms->room > 0 ? ms->room * 2 : 8;
        ms->living = mem_realloc(ms->living, room * sizeof(struct member *));
        ms->dead = mem_realloc(ms->dead, room * sizeof(struct member *));
        ms->room = room;
    }
    sd_assert(u->name.len <= sizeof(m->text));
    memcpy(m->text, u->name.p, u->name.len);
    m->pub.name = slice_make(m->text, u->name.len);
    m->pub.boot = u->boot;
    m->pub.incarnation = u->incarnation;
    m->at = NOWHERE;
    list_init(&m->news);
    members_set(m, u);
    table_add(&ms->by_boot, &m->by_boot, boot_hash(ms, u->boot));
    table_add(&ms->by_name, &m->by_name,
              (uint32_t)hash_bytes(&ms->key, m->pub.name));
    return m;
}

void members_set(struct member *m, const struct gossip_update *u)
{
    struct slice meta = slice_make("", 0);

    if (u->meta.len > 0)
        meta = slice_make(mem_dup(u->meta.p, u->meta.len), u->meta.len);
    if (m->pub.meta.len > 0)
        mem_free((void *)(uintptr_t)m->pub.meta.p);
    m->pub.meta = meta;
    m->pub.kind = u->kind;
    m->pub.address = u->address;
    m->known = m->edition = u->edition;
}

void members_digest(struct members *ms, struct member *m)
{
    unsigned bucket = members_bucket(m->pub.boot);
    uint64_t all;

    ms->digest[bucket] -= m->share;
    m->share = 0;
    if (m->pub.state <= GOSSIP_SUSPECT) {
        all = dice_mix(m->pub.boot + m->pub.incarnation);
        m->share = (uint32_t)dice_mix(all ^ m->known) | 1;
    }
    ms->digest[bucket] += m->share;
}

unsigned members_bucket(uint64_t boot)
{
    return (unsigned)(dice_mix(boot) % GOSSIP_BUCKETS);
}

/* --- the living, and their turns ------------------------------------------ */

static void seat(struct members *ms, struct member *m, uint32_t at)
{
    ms->living[at] = m;
    m->at = at;
}

static void swap(struct members *ms, uint32_t a, uint32_t b)
{
    struct member *m = ms->living[a];

    seat(ms, ms->living[b], a);
    seat(ms, m, b);
}

static bool is_among(struct member *const *list, uint32_t n,
                     const struct member *m)
{
    return m->at < n && list[m->at] == m;
}

static void leave_dead(struct members *ms, struct member *m)
{
    struct member *last = ms->dead[--ms->ndead];

    ms->dead[m->at] = last;
    last->at = m->at;
    m->at = NOWHERE;
}

static void leave_living(struct members *ms, struct member *m)
{
    if (m->at < ms->turn) { /* fill the gap from those that had their turn */
        ms->turn--;
        swap(ms, m->at, ms->turn);
    }
    swap(ms, m->at, ms->nliving - 1);
    ms->nliving--;
    m->at = NOWHERE;
}

void members_enliven(struct members *ms, struct member *m)
{
    if (is_among(ms->living, ms->nliving, m))
        return;
    if (is_among(ms->dead, ms->ndead, m))
        leave_dead(ms, m);
    seat(ms, m, ms->nliving++);
    swap(ms, m->at, ms->turn + dice_roll(&ms->dice, ms->nliving - ms->turn));
}

void members_bury(struct members *ms, struct member *m)
{
    if (is_among(ms->dead, ms->ndead, m))
        return;
    if (is_among(ms->living, ms->nliving, m))
        leave_living(ms, m);
    m->at = ms->ndead;
    ms->dead[ms->ndead++] = m;
}

void members_drop(struct members *ms, struct member *m)
{
    sd_assert(is_among(ms->dead, ms->ndead, m));
    sd_assert(!timer_is_on(&m->timer) && list_empty(&m->news));
    leave_dead(ms, m);
    table_del(&ms->by_boot, &m->by_boot);
    table_del(&ms->by_name, &m->by_name);
    free_member(m);
}

struct member *members_next(struct members *ms)
{
    uint32_t i;

    if (ms->nliving == 0)
        return NULL;
    if (ms->turn == ms->nliving) {
        for (i = ms->nliving - 1; i > 0; i--)
            swap(ms, i, dice_roll(&ms->dice, i + 1));
        ms->turn = 0;
    }
    return ms->living[ms->turn++];
}

void members_soon(struct members *ms, struct member *m)
{
    if (!is_among(ms->living, ms->nliving, m))
        return;
    if (m->at < ms->turn) {
        ms->turn--;
        swap(ms, m->at, ms->turn);
    }
    swap(ms, m->at, ms->turn);
}

struct member *members_any(struct members *ms)
{
    if (ms->nliving == 0)
        return NULL;
    return ms->living[dice_roll(&ms->dice, ms->nliving)];
}

struct member *members_any_dead(struct members *ms)
{
    if (ms->ndead == 0)
        return NULL;
    return ms->dead[dice_roll(&ms->dice, ms->ndead)];
}
