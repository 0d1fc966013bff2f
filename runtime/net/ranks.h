/* ranks.h - things by weight, the heaviest first (an intrusive heap).  Pure.
 *
 * Opened by zeroing.  All changes take O(log n). */
#ifndef SD_NET_RANKS_H
#define SD_NET_RANKS_H

#include <stdint.h>

/* Embedded in the thing; zeroed: in no heap. */
struct rank {
    uint64_t weight;
    uint32_t place; /* + 1; 0: in no heap */
};

struct ranks {
    struct rank **at;
    uint32_t n, cap;
};

void ranks_fini(struct ranks *r);

/* Its weight from now on; 0 takes it out. */
void ranks_set(struct ranks *r, struct rank *node, uint64_t weight);

/* The heaviest, NULL: none. */
struct rank *ranks_first(const struct ranks *r);

/* The `max` heaviest into out, heaviest first; how many.  O(max^2). */
uint32_t ranks_top(const struct ranks *r, struct rank **out, uint32_t max);

#endif
