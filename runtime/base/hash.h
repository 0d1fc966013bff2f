/* hash.h - hashes of bytes that strangers choose (SipHash-2-4, 64 bits). */
#ifndef SD_BASE_HASH_H
#define SD_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

struct hash_key {
    uint64_t k0, k1;
};

/* A key of random bytes, so that nobody outside can make names collide. */
struct hash_key hash_key_random(void);

uint64_t hash_bytes(const struct hash_key *key, struct slice bytes);

#endif
