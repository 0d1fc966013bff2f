/* spread.h - one value for many conns, on all workers of the node.
 *
 * A publish, or a send to everyone: this worker's conns directly, those of
 * the others by one message each, which carries the value as msgpack. */
#ifndef SD_VM_SPREAD_H
#define SD_VM_SPREAD_H

#include <stdbool.h>

#include "base/slice.h"

struct deliver;
struct vm;

struct spread {
    struct slice topic;  /* empty: every conn that speaks packets */
    struct slice except; /* msgpack array of uids left out, or empty */
    struct slice value;  /* msgpack */
    bool is_volatile;
};

/* Tell all other workers.  0; SD_EBUSY when one of them has no room, and then
 * nobody was told; SD_ETOOLARGE. */
int spread_far(struct vm *vm, const struct spread *s);

/* To the conns of this process.  The fan-out has begun, with who is passed
 * over marked. */
void spread_here(struct deliver *d, struct slice topic);

/* A MSG_PUBLISH's body, behind the wire head. */
void spread_take(struct vm *vm, struct slice body);

#endif
