/* backoff.h - when a process that ended may be started again.  Pure.
 *
 * At once, then after 100 ms, doubled up to 30 s; from the beginning when it
 * was well for 60 s.  More than 5 crashes within 60 s open the breaker: then
 * one try a minute, until one stays well. */
#ifndef SD_PROC_BACKOFF_H
#define SD_PROC_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BACKOFF_CRASHES = 5,
    BACKOFF_WINDOW = 60000, /* ms */
    BACKOFF_FIRST = 100,
    BACKOFF_LAST = 30000,
};

struct backoff {
    uint64_t crashes[BACKOFF_CRASHES]; /* when, a ring */
    unsigned at;
    unsigned row;   /* crashes since it was last well */
    uint64_t ready; /* when it became ready, 0: not since its start */
    bool open;      /* the breaker */
};

void backoff_on_ready(struct backoff *b, uint64_t now);

/* It crashed: milliseconds to wait before the next start.  `random` (any
 * number) spreads waits by up to a fifth.  b->open says whether the breaker
 * is open now. */
uint64_t backoff_on_crash(struct backoff *b, uint64_t now, uint32_t random);

#endif
