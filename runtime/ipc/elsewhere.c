/* elsewhere.c - see elsewhere.h. */
#include "ipc/elsewhere.h"

#include <stdatomic.h>

#include "base/hash.h"

struct elsewhere {
    _Alignas(64) _Atomic uint64_t count; /* of bits that are set, or more */
    _Alignas(64) _Atomic uint64_t word[ELSEWHERE_BITS / 64];
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

bool elsewhere_set(struct elsewhere *e, struct slice uid)
{
    uint64_t at = elsewhere_hash(uid) % ELSEWHERE_BITS;
    uint64_t bit = UINT64_C(1) << at % 64;

    if (elsewhere_has(e, uid))
        return false;
    /* Counted first: whoever finds the bit finds that the map is not empty. */
    atomic_fetch_add(&e->count, 1);
    return (atomic_fetch_or(&e->word[at / 64], bit) & bit) == 0;
}

bool elsewhere_has(const struct elsewhere *e, struct slice uid)
{
    uint64_t at;

    if (elsewhere_is_empty(e))
        return false; /* most nodes never have any */
    at = elsewhere_hash(uid) % ELSEWHERE_BITS;
    return (atomic_load_explicit(&e->word[at / 64], memory_order_relaxed) >>
                at % 64 &
            1) != 0;
}

bool elsewhere_is_empty(const struct elsewhere *e)
{
    return atomic_load_explicit(&e->count, memory_order_relaxed) == 0;
}
