/* uidmap_read.c - see uidmap.h; here: what all processes ask.
 *
 * One load of the mask answers most questions for uids that are offline.  For
 * others each slot with a bit is probed.  A uid may meanwhile move from a
 * slot not yet probed to one that has been: so who found nothing looks whether
 * anybody has bound anything since, and if so begins anew.
 *
 * Counting.  Each slot knows how many uids it has.  A uid on two workers would
 * count twice, so a writer that finds a uid elsewhere as it binds it puts the
 * binding into the chain of its twins: of any two slots that have the uid, the
 * one that came last has seen the other (both: a full fence lies between link
 * and look), so a uid that many slots have is among the twins of at least one.
 * The newest of these takes off what was counted too much.  That costs a find
 * per twin, and nothing as long as each uid has one worker. */
#include "ipc/uidmap.h"

#include <string.h>

#include "base/assert.h"
#include "ipc/uidmap_table.h"

enum {
    FIND_TRIES = 100,
    SHOWN_MAX = 16,
    SCAN_MAX = 65536 /* masks that one call looks at */
};

/* What tells whether anything was bound in between. */
struct stamp {
    uint64_t bits[MASK_WORDS];
    uint64_t binds;
};

/* Over the slots that have a bit. */
struct probe {
    const struct uidmap *m;
    uint64_t bits[MASK_WORDS];
    unsigned word;
};

static void load_mask(const struct uidmap *m, uint32_t mask, uint64_t *bits)
{
    unsigned w;

    for (w = 0; w < m->block->words; w++)
        bits[w] = atomic_load_explicit(mask_word(m, mask, w * 64),
                                       memory_order_acquire);
}

static void probe_start(struct probe *p, const struct uidmap *m,
                        const uint64_t *bits)
{
    p->m = m;
    p->word = 0;
    memcpy(p->bits, bits, m->block->words * sizeof(*bits));
}

/* The next living slot with a bit, and its table; -1: no more. */
static int probe_next(struct probe *p, struct uidmap_view *v)
{
    while (p->word < p->m->block->words) {
        uint64_t bits = p->bits[p->word];
        unsigned slot = p->word * 64;

        if (bits == 0) {
            p->word++;
            continue;
        }
        slot += (unsigned)__builtin_ctzll(bits);
        p->bits[p->word] = bits & (bits - 1);
        if (slot < p->m->block->workers && uidmap_live(p->m, slot, v))
            return (int)slot;
    }
    return -1;
}

static uint64_t binds_of(const struct uidmap_view *v)
{
    return atomic_load_explicit(&v->table->binds, memory_order_acquire);
}

static void take_stamp(const struct uidmap *m, uint32_t mask, struct stamp *s)
{
    struct uidmap_view v;
    struct probe p;

    load_mask(m, mask, s->bits);
    s->binds = 0;
    probe_start(&p, m, s->bits);
    while (probe_next(&p, &v) >= 0)
        s->binds += atomic_load_explicit(&v.table->binds, memory_order_acquire);
}

static bool is_same(const struct uidmap *m, const struct stamp *a,
                    const struct stamp *b)
{
    return a->binds == b->binds &&
           memcmp(a->bits, b->bits, m->block->words * sizeof(*a->bits)) == 0;
}

static bool show(uidmap_fn fn, void *arg, const struct uidmap_copy *c,
                 const struct uidmap_key *key, unsigned slot)
{
    struct uidmap_binding b = {
        .uid = key_uid(key),
        .conn = c->conn,
        .number = c->number,
        .slot = slot,
        .epoch = epoch_of(c->serial),
    };

    return fn(arg, &b);
}

/* Show what the slots with a bit in the stamp have; without `fn` the first will
 * do.  Adds up their binds as they were before each was walked: who moves to a
 * slot behind the walk is noticed. */
static unsigned probe_all(const struct uidmap *m, const struct uidmap_key *key,
                          struct stamp *s, uidmap_fn fn, void *arg)
{
    struct uidmap_walk w;
    struct uidmap_copy c;
    struct uidmap_view v;
    struct probe p;
    unsigned n = 0;
    int slot;

    s->binds = 0;
    probe_start(&p, m, s->bits);
    while ((slot = probe_next(&p, &v)) >= 0) {
        s->binds += binds_of(&v);
        uidmap_walk(&w, m, &v, key->hash, key);
        while (uidmap_step(&w, &c)) {
            n++;
            if (fn == NULL || !show(fn, arg, &c, key, (unsigned)slot))
                return n;
        }
    }
    return n;
}

static unsigned find(const struct uidmap *m, struct slice uid, uidmap_fn fn,
                     void *arg)
{
    struct stamp before, after;
    struct uidmap_key key;
    unsigned n, tries = FIND_TRIES;
    uint32_t mask;

    sd_check(m, UIDMAP_MAGIC);
    if (uid.len == 0 || uid.len > UIDMAP_UID)
        return 0;
    uidmap_key(m, &key, uid);
    mask = mask_of(m, key.hash);
    do {
        load_mask(m, mask, before.bits);
        n = probe_all(m, &key, &before, fn, arg);
        if (n > 0)
            break;
        take_stamp(m, mask, &after);
    } while (!is_same(m, &before, &after) && --tries > 0);
    return n;
}

unsigned uidmap_find(const struct uidmap *m, struct slice uid, uidmap_fn fn,
                     void *arg)
{
    return find(m, uid, fn, arg);
}

bool uidmap_is_online(const struct uidmap *m, struct slice uid)
{
    return find(m, uid, NULL, NULL) > 0;
}

bool uidmap_has_left(const struct uidmap *m, unsigned slot, uint32_t hash)
{
    struct uidmap_walk w;
    struct uidmap_copy c;
    struct uidmap_view v;

    if (slot >= m->block->workers || !uidmap_live(m, slot, &v))
        return false;
    uidmap_walk(&w, m, &v, hash, NULL);
    while (uidmap_step(&w, &c)) {
        if (mask_of(m, c.key.hash) == mask_of(m, hash))
            return false;
    }
    return true;
}

bool uidmap_elsewhere(const struct uidmap *m, const struct uidmap_key *key)
{
    struct stamp s;

    load_mask(m, mask_of(m, key->hash), s.bits);
    s.bits[m->self / 64] &= ~(UINT64_C(1) << (m->self % 64));
    return probe_all(m, key, &s, NULL, NULL) > 0;
}

/* --- counting ------------------------------------------------------------- */

/* Of one uid: on how many slots, and its newest twin. */
struct spread {
    unsigned slots;
    unsigned twin_slot;
    uint64_t twin_serial;
};

static struct spread spread_of(const struct uidmap *m,
                               const struct uidmap_key *key)
{
    struct spread s = {0, 0, 0};
    struct uidmap_walk w;
    struct uidmap_copy c;
    struct uidmap_view v;
    struct stamp bits;
    struct probe p;
    int slot;

    load_mask(m, mask_of(m, key->hash), bits.bits);
    probe_start(&p, m, bits.bits);
    while ((slot = probe_next(&p, &v)) >= 0) {
        bool here = false;

        uidmap_walk(&w, m, &v, key->hash, key);
        while (uidmap_step(&w, &c)) {
            if (c.twin &&
                ((unsigned)slot != s.twin_slot || c.serial > s.twin_serial)) {
                s.twin_slot = (unsigned)slot;
                s.twin_serial = c.serial;
            }
            here = true;
        }
        s.slots += here;
    }
    return s;
}

/* How many uids the slots have counted too much, as seen from the twins of
 * one; looks at `most` of them. */
static uint64_t surplus(const struct uidmap *m, unsigned slot,
                        const struct uidmap_view *v, uint32_t most)
{
    uint32_t all = atomic_load(&v->table->ntwins), seen = 0;
    struct uidmap_walk w;
    struct uidmap_copy c;
    uint64_t n = 0;

    uidmap_walk_twins(&w, m, v);
    while (seen < most && uidmap_step(&w, &c)) {
        struct spread s = spread_of(m, &c.key);

        seen++;
        if (s.slots > 1 && s.twin_slot == slot && s.twin_serial == c.serial)
            n += s.slots - 1;
    }
    return seen > 0 && all > seen ? n * all / seen : n;
}

uint32_t uidmap_count(const struct uidmap *m)
{
    uint32_t most = UIDMAP_TWINS / m->block->workers;
    uint64_t all = 0, twice = 0;
    struct uidmap_view v;
    unsigned slot;

    sd_check(m, UIDMAP_MAGIC);
    for (slot = 0; slot < m->block->workers; slot++) {
        if (!uidmap_live(m, slot, &v))
            continue;
        all += atomic_load(&v.table->uids);
        twice += surplus(m, slot, &v, most);
    }
    return (uint32_t)(all > twice ? all - twice : 0);
}

uint32_t uidmap_bindings(const struct uidmap *m, unsigned slot)
{
    struct uidmap_view v;

    sd_check(m, UIDMAP_MAGIC);
    return slot < m->block->workers && uidmap_live(m, slot, &v)
               ? atomic_load(&v.table->bindings)
               : 0;
}

/* --- all of them ---------------------------------------------------------- */

/* The uids of one mask that were shown.  A mask has about one; with more than
 * SHOWN_MAX, which the hash's key keeps anybody from arranging, one with
 * several conns might come twice. */
struct shown {
    struct uidmap_key key[SHOWN_MAX];
    unsigned n;
};

static bool is_equal(const struct uidmap_key *a, const struct uidmap_key *b)
{
    return a->hash == b->hash && slice_eq(key_uid(a), key_uid(b));
}

static bool remember(struct shown *s, const struct uidmap_key *key)
{
    unsigned i;

    for (i = 0; i < s->n; i++)
        if (is_equal(&s->key[i], key))
            return false;
    if (s->n < SHOWN_MAX)
        s->key[s->n++] = *key;
    return true;
}

/* Show what the slots of the stamp have and was not shown. */
static unsigned show_mask(const struct uidmap *m, uint32_t mask,
                          const struct stamp *s, struct shown *shown,
                          uidmap_fn fn, void *arg)
{
    struct uidmap_walk w;
    struct uidmap_copy c;
    struct uidmap_view v;
    struct probe p;
    unsigned n = 0;
    int slot;

    probe_start(&p, m, s->bits);
    while ((slot = probe_next(&p, &v)) >= 0) {
        uidmap_walk(&w, m, &v, mask, NULL);
        while (uidmap_step(&w, &c)) {
            if (mask_of(m, c.key.hash) != mask || !remember(shown, &c.key))
                continue;
            n++;
            show(fn, arg, &c, &c.key, (unsigned)slot);
        }
    }
    return n;
}

static unsigned scan_mask(const struct uidmap *m, uint32_t mask, uidmap_fn fn,
                          void *arg)
{
    unsigned n = 0, w, tries = FIND_TRIES;
    struct stamp before, after;
    struct shown shown;

    load_mask(m, mask, after.bits);
    for (w = 0; w < m->block->words && after.bits[w] == 0; w++)
        ;
    if (w == m->block->words)
        return 0;
    shown.n = 0;
    take_stamp(m, mask, &after);
    do {
        before = after;
        n += show_mask(m, mask, &before, &shown, fn, arg);
        take_stamp(m, mask, &after);
    } while (!is_same(m, &before, &after) && --tries > 0);
    return n;
}

void uidmap_scan(const struct uidmap *m, uint64_t *cursor, unsigned max,
                 uidmap_fn fn, void *arg)
{
    uint64_t at = *cursor, end = at + SCAN_MAX;
    unsigned n = 0;

    sd_check(m, UIDMAP_MAGIC);
    if (end > m->block->masks)
        end = m->block->masks;
    for (; at < end && n < max; at++)
        n += scan_mask(m, (uint32_t)at, fn, arg);
    *cursor = at < m->block->masks ? at : 0;
}
