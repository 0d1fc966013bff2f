/* owner.h - which of several relays owns a name: the one with the highest
 * score, so that all who know the same relays agree, and a relay that comes
 * or goes changes the owner of few names. */
#ifndef SD_CLUSTER_OWNER_H
#define SD_CLUSTER_OWNER_H

#include <stdint.h>

static inline uint64_t owner_score(uint64_t name_hash, uint64_t relay)
{
    uint64_t x = name_hash ^ (relay * UINT64_C(0x9e3779b97f4a7c15));

    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

#endif
