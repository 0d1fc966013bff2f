/* shtimer.c - see shtimer.h.
 *
 * All that must change together is one word: generation of the plan (8 bits),
 * number of runs (16 bits), due time in ms (40 bits, 34 years of uptime).  A
 * claim swaps it, so due time and count cannot part even if the claimer is
 * killed at the next instruction.  The word beside it holds the whole count;
 * whoever wins a claim stores it.  Should that store be missing, the low bits
 * in the first word tell the reader by how much it is behind.
 *
 * Without overlap a run is also an owner: (slot, epoch) in a third word, taken
 * by compare-and-swap after the claim and given back by shtimer_done().  An
 * owner that has died counts as none, so nothing needs cleaning up. */
#include "ipc/shtimer.h"

#include <stdalign.h>
#include <stdatomic.h>

#include "base/assert.h"

#define DUE_BITS   40
#define DUE_MAX    ((UINT64_C(1) << DUE_BITS) - 1)
#define GEN_SHIFT  56
#define COUNT_MAX  ((UINT64_C(1) << GEN_SHIFT) - 1)
#define OWNER_USED (UINT64_C(1) << 32)

struct one {
    alignas(64) _Atomic uint64_t plan;
    _Atomic uint64_t runs; /* generation (8), count (56) */
    _Atomic uint64_t owner;
    _Atomic uint64_t key; /* 0: free */
};

struct shtimer {
    struct one timer[SHTIMER_PLACES];
};

static uint8_t gen_of(uint64_t w)
{
    return (uint8_t)(w >> GEN_SHIFT);
}

/* Generations count from 1; in 8 bits 0 stays "never planned". */
static uint8_t short_gen(uint32_t gen)
{
    return (uint8_t)((gen - 1) % 255 + 1);
}

static uint16_t count_of(uint64_t w)
{
    return (uint16_t)(w >> DUE_BITS);
}

static uint64_t plan_word(uint8_t gen, uint16_t count, uint64_t due)
{
    sd_assert(due <= DUE_MAX);
    return (uint64_t)gen << GEN_SHIFT | (uint64_t)count << DUE_BITS | due;
}

static const struct one *timer_of(const struct shtimer *t, unsigned i)
{
    sd_assert(i < SHTIMER_PLACES);
    return &t->timer[i];
}

static struct one *timer_to(struct shtimer *t, unsigned i)
{
    sd_assert(i < SHTIMER_PLACES);
    return &t->timer[i];
}

size_t shtimer_size(void)
{
    return sizeof(struct shtimer);
}

/* Is `gen` newer than the planned one?  Half the circle of 255 lies ahead. */
static bool is_newer(uint8_t gen, uint8_t planned)
{
    unsigned ahead = (gen + 255u - planned) % 255u;

    return planned == 0 || (ahead > 0 && ahead < 128);
}

bool shtimer_plan(struct shtimer *t, unsigned i, uint32_t gen,
                  uint64_t first_due)
{
    struct one *one = timer_to(t, i);
    uint64_t w = atomic_load(&one->plan);

    sd_assert(gen > 0);
    do {
        if (!is_newer(short_gen(gen), gen_of(w)))
            return false;
    } while (!atomic_compare_exchange_weak(
        &one->plan, &w, plan_word(short_gen(gen), 0, first_due)));
    return true;
}

uint64_t shtimer_due(const struct shtimer *t, unsigned i, uint32_t gen)
{
    uint64_t w = atomic_load(&timer_of(t, i)->plan);

    return gen_of(w) == short_gen(gen) ? w & DUE_MAX : SHTIMER_NEVER;
}

/* The whole count that belongs to plan word `w`: the stored one, moved by
 * less than half a turn so that its low bits are those of `w`. */
static uint64_t full_count(uint64_t w, uint64_t runs)
{
    uint64_t count = runs & COUNT_MAX;

    if (gen_of(runs) != gen_of(w))
        return count_of(w);
    return count + (uint64_t)(int16_t)(count_of(w) - (uint16_t)count);
}

uint64_t shtimer_runs(const struct shtimer *t, unsigned i, uint32_t gen)
{
    const struct one *one = timer_of(t, i);
    uint64_t w = atomic_load(&one->plan);

    if (gen_of(w) != short_gen(gen))
        return 0;
    return full_count(w, atomic_load(&one->runs));
}

uint64_t shtimer_next(uint64_t due, uint64_t every, uint64_t now)
{
    sd_assert(every > 0);
    return now < due ? due + every : due + ((now - due) / every + 1) * every;
}

static uint64_t owner_word(const struct shtimer_asker *who)
{
    return OWNER_USED | (uint64_t)who->slot << 16 | who->epoch;
}

static bool owner_lives(uint64_t owner, const struct shtimer_asker *who)
{
    return owner != 0 &&
           who->alive(who->arg, (uint16_t)(owner >> 16), (uint16_t)owner);
}

enum shtimer_verdict shtimer_claim(struct shtimer *t, unsigned i,
                                   const struct shtimer_asker *who,
                                   uint64_t due, uint64_t next, bool overlap)
{
    struct one *one = timer_to(t, i);
    uint64_t w = atomic_load(&one->plan), count;
    uint64_t owner = atomic_load(&one->owner);
    uint16_t short_count = count_of(w);
    bool skip = !overlap && owner_lives(owner, who);

    if (gen_of(w) != short_gen(who->gen) || (w & DUE_MAX) != due ||
        due == SHTIMER_NEVER)
        return SHTIMER_TAKEN;
    count = full_count(w, atomic_load(&one->runs)) + 1;
    if (!skip)
        short_count++;
    if (!atomic_compare_exchange_strong(
            &one->plan, &w, plan_word(gen_of(w), short_count, next)))
        return SHTIMER_TAKEN;
    if (skip)
        return SHTIMER_SKIPPED;

    atomic_store(&one->runs, (uint64_t)gen_of(w) << GEN_SHIFT | count);
    if (!overlap &&
        !atomic_compare_exchange_strong(&one->owner, &owner, owner_word(who)))
        return SHTIMER_SKIPPED;
    return SHTIMER_RUN;
}

void shtimer_done(struct shtimer *t, unsigned i,
                  const struct shtimer_asker *who)
{
    uint64_t mine = owner_word(who);

    atomic_compare_exchange_strong(&timer_to(t, i)->owner, &mine, 0);
}

bool shtimer_is_running(const struct shtimer *t, unsigned i,
                        const struct shtimer_asker *who)
{
    return owner_lives(atomic_load(&timer_of(t, i)->owner), who);
}

/* --- from one generation to the next -------------------------------------- */

int shtimer_place(const struct shtimer *t, uint64_t key)
{
    for (int i = 0; i < SHTIMER_PLACES; i++) {
        if (atomic_load(&t->timer[i].key) == key)
            return i;
    }
    return -1;
}

static bool is_listed(uint64_t key, const uint64_t *keys, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (keys[i] == key)
            return true;
    }
    return false;
}

/* From here on nobody of an older generation can claim a run. */
static void carry(struct one *one, uint32_t gen)
{
    uint64_t w = atomic_load(&one->plan), runs;

    while (!atomic_compare_exchange_weak(
        &one->plan, &w, plan_word(short_gen(gen), count_of(w), w & DUE_MAX)))
        continue;
    runs = full_count(w, atomic_load(&one->runs));
    atomic_store(&one->runs, (uint64_t)short_gen(gen) << GEN_SHIFT | runs);
}

/* A place whose last run goes on in old code is not free yet. */
static void drop(struct one *one, const struct shtimer_asker *who)
{
    atomic_store(&one->plan, 0);
    if (!owner_lives(atomic_load(&one->owner), who))
        atomic_store(&one->key, 0);
}

static void add(struct shtimer *t, uint64_t key)
{
    int i = shtimer_place(t, 0);

    sd_assert(i >= 0); /* vms_retired() is bounded */
    atomic_store(&t->timer[i].plan, 0);
    atomic_store(&t->timer[i].owner, 0);
    atomic_store(&t->timer[i].key, key);
}

void shtimer_adopt(struct shtimer *t, const uint64_t *keys, unsigned n,
                   uint32_t gen, const struct shtimer_asker *who)
{
    for (unsigned i = 0; i < SHTIMER_PLACES; i++) {
        struct one *one = &t->timer[i];
        uint64_t key = atomic_load(&one->key);

        if (key == 0)
            continue;
        if (!is_listed(key, keys, n))
            drop(one, who);
        else if (atomic_load(&one->plan) != 0)
            carry(one, gen);
    }
    for (unsigned i = 0; i < n; i++) {
        if (shtimer_place(t, keys[i]) < 0)
            add(t, keys[i]);
    }
}
