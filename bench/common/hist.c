/* hist.c - see hist.h. */
#include "common/hist.h"

static unsigned bucket_of(uint64_t ns)
{
    unsigned shift;

    if (ns < HIST_SUBS)
        return (unsigned)ns;
    shift = 63 - (unsigned)__builtin_clzll(ns) - HIST_SUB_BITS;
    return (shift << HIST_SUB_BITS) + (unsigned)(ns >> shift);
}

static uint64_t upper_edge(unsigned i)
{
    unsigned shift;

    if (i < HIST_SUBS)
        return i;
    shift = (i >> HIST_SUB_BITS) - 1;
    return ((uint64_t)(i - (shift << HIST_SUB_BITS)) + 1) << shift;
}

void hist_add(struct hist *h, uint64_t ns)
{
    h->bucket[bucket_of(ns)]++;
    h->count++;
}

double hist_us(const struct hist *h, double share)
{
    uint64_t seen = 0;
    unsigned i;

    for (i = 0; i < HIST_BUCKETS && h->count > 0; i++) {
        seen += h->bucket[i];
        if ((double)seen >= share * (double)h->count)
            return (double)upper_edge(i) / 1000;
    }
    return 0;
}
