/* hash.c - see hash.h.
 *
 * Names of topics and uids come from clients, who could otherwise send ones
 * that fall into one bucket and make every lookup a walk. */
#include "base/hash.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void mix(uint64_t v[4], int rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

/* Fewer than eight bytes as a little-endian number. */
static uint64_t word_of(const unsigned char *p, size_t n)
{
    uint64_t w = 0;

    while (n-- > 0)
        w = w << 8 | p[n];
    return w;
}

struct hash_key hash_key_random(void)
{
    struct hash_key key;

    sd_assert(getrandom(&key, sizeof(key), 0) == sizeof(key));
    return key;
}

uint64_t hash_bytes(const struct hash_key *key, struct slice bytes)
{
    uint64_t v[4] = {key->k0 ^ UINT64_C(0x736f6d6570736575),
                     key->k1 ^ UINT64_C(0x646f72616e646f6d),
                     key->k0 ^ UINT64_C(0x6c7967656e657261),
                     key->k1 ^ UINT64_C(0x7465646279746573)};
    const unsigned char *p = (const unsigned char *)bytes.p;
    size_t left = bytes.len;
    uint64_t w;

    for (; left >= 8; p += 8, left -= 8) {
        memcpy(&w, p, sizeof(w));
        w = le64toh(w);
        v[3] ^= w;
        mix(v, 2);
        v[0] ^= w;
    }
    w = word_of(p, left) | (uint64_t)bytes.len << 56;
    v[3] ^= w;
    mix(v, 2);
    v[0] ^= w;
    v[2] ^= 0xff;
    mix(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
