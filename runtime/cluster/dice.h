/* dice.h - random numbers that a seed repeats: for who is asked next and when,
 * never for secrets. */
#ifndef SD_CLUSTER_DICE_H
#define SD_CLUSTER_DICE_H

#include <stdint.h>

struct dice {
    uint64_t state; /* the seed, at first */
};

/* All bits of x decide about all bits of the result. */
static inline uint64_t dice_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline uint64_t dice_bits(struct dice *d)
{
    d->state += UINT64_C(0x9e3779b97f4a7c15);
    return dice_mix(d->state);
}

/* 0 .. n - 1; n is small, so that none is favoured by more than n / 2^32. */
static inline uint32_t dice_roll(struct dice *d, uint32_t n)
{
    return (uint32_t)((dice_bits(d) >> 32) * n >> 32);
}

#endif
