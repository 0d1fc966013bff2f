/* hist.h - latencies in buckets that are 3 % wide.
 *
 * Each power of two of nanoseconds has 32 equal buckets: any latency fits,
 * adding one is a few instructions, percentiles need no sorting. */
#ifndef SD_BENCH_HIST_H
#define SD_BENCH_HIST_H

#include <stdint.h>

enum {
    HIST_SUB_BITS = 5,
    HIST_SUBS = 1 << HIST_SUB_BITS,
    HIST_BUCKETS = (64 - HIST_SUB_BITS + 1) * HIST_SUBS,
};

struct hist {
    uint64_t count;
    uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t ns);

/* Upper edge, in microseconds, of the bucket in which `share` (0..1) of all
 * latencies is reached; 0 when empty. */
double hist_us(const struct hist *h, double share);

#endif
