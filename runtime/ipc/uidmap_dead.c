/* uidmap_dead.c - see uidmap.h; here: who tells what a dead worker had.
 *
 * The claim is one word of the table: its epoch, whether it was told, and who
 * tells it.  All ways to change it are a compare-and-swap, so of many who ask
 * one gets it; a claimer that has died counts as none.  A claim names the
 * epoch of the bindings, and no entry keeps its serial into another epoch, so
 * a teller from whom the table was taken shows nothing of its next owner. */
#include "ipc/uidmap.h"

#include "base/assert.h"
#include "base/err.h"
#include "ipc/uidmap_table.h"

#define CLAIM_TOLD (UINT64_C(1) << 41)
#define CLAIM_HELD (UINT64_C(1) << 40)

static uint16_t claimed_epoch(uint64_t claim)
{
    return (uint16_t)(claim >> 48);
}

uint64_t uidmap_unclaimed(uint16_t epoch)
{
    return (uint64_t)epoch << 48;
}

static uint64_t mine(const struct uidmap *m, uint16_t epoch)
{
    return uidmap_unclaimed(epoch) | CLAIM_HELD | (uint64_t)m->self << 16 |
           m->epoch;
}

/* Does a living process tell it? */
static bool is_held(const struct uidmap *m, uint64_t claim)
{
    return (claim & CLAIM_HELD) != 0 &&
           slots_is_alive(m->slots, claim >> 16 & 0xff, (uint16_t)claim);
}

static bool try_claim(struct uidmap *m, const struct uidmap_view *v,
                      struct uidmap_dead *out)
{
    uint64_t claim = atomic_load(&v->table->claim);
    uint16_t epoch = claimed_epoch(claim);

    if (epoch == 0 || epoch == slots_epoch(m->slots, out->slot) ||
        atomic_load(&v->table->epoch) != epoch || (claim & CLAIM_TOLD) != 0 ||
        is_held(m, claim))
        return false;
    out->epoch = epoch;
    return atomic_compare_exchange_strong(&v->table->claim, &claim,
                                          mine(m, epoch));
}

bool uidmap_claim(struct uidmap *m, struct uidmap_dead *out)
{
    struct uidmap_view v;
    struct uidmap_dead d;
    unsigned i;

    sd_check(m, UIDMAP_MAGIC);
    for (i = 0; i < 2 * m->block->workers; i++) {
        d.slot = i / 2;
        v = uidmap_view(m, d.slot, i % 2);
        if (try_claim(m, &v, &d)) {
            *out = d;
            return true;
        }
    }
    return false;
}

bool uidmap_take_over(struct uidmap *m, const struct uidmap_dead *dead)
{
    struct uidmap_view v = uidmap_view(m, dead->slot, dead->epoch);
    uint64_t claim = atomic_load(&v.table->claim);

    do {
        if (claimed_epoch(claim) != dead->epoch || (claim & CLAIM_TOLD) != 0)
            return false;
    } while (!atomic_compare_exchange_weak(&v.table->claim, &claim,
                                           mine(m, dead->epoch)));
    return true;
}

/* Has the uid of entry `i` a binding at a later place of the table? */
static bool has_more(const struct uidmap *m, const struct uidmap_view *v,
                     uint32_t i, const struct uidmap_key *key)
{
    struct uidmap_walk w;
    struct uidmap_copy c;

    uidmap_walk(&w, m, v, key->hash, key);
    while (uidmap_step(&w, &c))
        if (c.index > i)
            return true;
    return false;
}

static bool tell(const struct uidmap *m, const struct uidmap_view *v,
                 const struct uidmap_copy *c, uidmap_fn fn, void *arg,
                 unsigned slot)
{
    struct uidmap_binding b = {
        .uid = key_uid(&c->key),
        .conn = c->conn,
        .number = c->number,
        .slot = slot,
        .epoch = v->epoch,
        .more = has_more(m, v, c->index, &c->key),
    };

    return fn(arg, &b);
}

int uidmap_tell(struct uidmap *m, const struct uidmap_dead *dead,
                uint64_t *cursor, unsigned max, uidmap_fn fn, void *arg)
{
    struct uidmap_view v = uidmap_view(m, dead->slot, dead->epoch);
    uint32_t used = atomic_load(&v.table->used);
    uint32_t i = (uint32_t)*cursor;
    struct uidmap_copy c;
    bool on = true;

    sd_check(m, UIDMAP_MAGIC);
    while (on && max > 0 && i < used && i < m->block->max) {
        if (atomic_load(&v.table->claim) != mine(m, dead->epoch))
            return SD_EGONE;
        if (!uidmap_copy(&v, ++i, NULL, &c))
            continue;
        max--;
        on = tell(m, &v, &c, fn, arg, dead->slot);
    }
    if (atomic_load(&v.table->claim) != mine(m, dead->epoch))
        return SD_EGONE;
    *cursor = i < used ? i : 0;
    return 0;
}

void uidmap_told(struct uidmap *m, const struct uidmap_dead *dead)
{
    struct uidmap_view v = uidmap_view(m, dead->slot, dead->epoch);
    uint64_t claim = mine(m, dead->epoch);

    sd_check(m, UIDMAP_MAGIC);
    atomic_compare_exchange_strong(&v.table->claim, &claim, claim | CLAIM_TOLD);
}
