/* heard.h - how far the publishes of each process were handled, so that a conn
 * that moves hears each of them once.
 *
 * A process sends a publish to all workers under one counter, which only
 * rises; so how far a worker has come with it is one number: the epoch of the
 * process above its counter. */
#ifndef SD_VM_HEARD_H
#define SD_VM_HEARD_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/slots.h"

struct heard {
    uint64_t at[SLOTS_MAX]; /* 0: nothing yet */
};

/* One publish; of our own vm `at` is 0. */
struct heard_id {
    unsigned slot;
    uint64_t at;
};

static inline uint64_t heard_at(unsigned epoch, uint64_t counter)
{
    return (uint64_t)epoch << 48 | (counter & ((UINT64_C(1) << 48) - 1));
}

static inline bool heard_has(const uint64_t *at, const struct heard_id *id)
{
    return id->at != 0 && id->at <= at[id->slot];
}

#endif
