/* elsewhere.c - see elsewhere.h. */
#include "ipc/elsewhere.h"

#include <stdatomic.h>

#include "base/hash.h"

enum {
    WORDS = ELSEWHERE_BITS / 64
};

struct map {
    _Alignas(64) _Atomic uint64_t count; /* of bits that are set, or more */
    _Alignas(64) _Atomic uint64_t word[WORDS];
};

struct elsewhere {
    struct map map[2];
    _Alignas(64) _Atomic uint64_t young; /* which is */
};

size_t elsewhere_size(void)
{
    return sizeof(struct elsewhere);
}

uint64_t elsewhere_hash(struct slice uid)
{
    static const struct hash_key key = {UINT64_C(0x73646c7561656c73),
                                        UINT64_C(0x6577686572657364)};

    return hash_bytes(&key, uid);
}

static bool map_has(const struct map *m, uint64_t at)
{
    return (atomic_load_explicit(&m->word[at / 64], memory_order_relaxed) >>
                at % 64 &
            1) != 0;
}

bool elsewhere_set(struct elsewhere *e, struct slice uid)
{
    uint64_t at = elsewhere_hash(uid) % ELSEWHERE_BITS;
    uint64_t bit = UINT64_C(1) << at % 64;
    struct map *m = &e->map[atomic_load(&e->young)];
    bool is_new = !elsewhere_has(e, uid);

    if (map_has(m, at))
        return false;
    /* Counted first: whoever finds the bit finds that the map is not empty. */
    atomic_fetch_add(&m->count, 1);
    return (atomic_fetch_or(&m->word[at / 64], bit) & bit) == 0 && is_new;
}

bool elsewhere_has(const struct elsewhere *e, struct slice uid)
{
    uint64_t at;

    if (elsewhere_is_empty(e))
        return false; /* most nodes never have any */
    at = elsewhere_hash(uid) % ELSEWHERE_BITS;
    return map_has(&e->map[0], at) || map_has(&e->map[1], at);
}

void elsewhere_turn(struct elsewhere *e)
{
    uint64_t old = 1 - atomic_load(&e->young);
    struct map *m = &e->map[old];

    if (atomic_load(&m->count) > 0) {
        for (unsigned i = 0; i < WORDS; i++)
            atomic_store_explicit(&m->word[i], 0, memory_order_relaxed);
        atomic_store(&m->count, 0);
    }
    atomic_store(&e->young, old);
}

bool elsewhere_is_empty(const struct elsewhere *e)
{
    return atomic_load_explicit(&e->map[0].count, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&e->map[1].count, memory_order_relaxed) == 0;
}
