/* conns.h - conn ids, and the table from id to conn.  Pure.
 *
 * An id is slot 8 | epoch 16 | index 20 | generation 20 bits.  Free indexes are
 * reused oldest first, and an index at its last generation is retired, so no
 * id comes back within an epoch of its slot. */
#ifndef SD_NET_CONNS_H
#define SD_NET_CONNS_H

#include <stdint.h>

struct conns;

enum {
    CONNS_INDEX_BITS = 20,
    CONNS_GENERATION_BITS = 20,
    CONNS_MAX = 1048576, /* indexes */
};

struct conns *conns_new(unsigned slot, unsigned epoch);
void conns_free(struct conns **cp);

/* Keeps `conn` (not NULL) under a fresh id; 0: no index is left. */
uint64_t conns_add(struct conns *c, void *conn);

/* The conn of an id, or NULL for every id that is stale or not ours. */
void *conns_find(const struct conns *c, uint64_t id);

/* The id is stale from now on.  It must be a live one. */
void conns_remove(struct conns *c, uint64_t id);

/* The same in two steps: stale from now on, but its index is not used again
 * before conns_return(). */
void conns_withdraw(struct conns *c, uint64_t id);
void conns_return(struct conns *c, uint64_t id);

/* All conns in no order: start with *cursor = 0, ends with NULL.  Adding and
 * removing meanwhile is fine; what was added may be missed. */
void *conns_next(const struct conns *c, uint32_t *cursor);

/* The parts of an id. */
unsigned conns_slot(uint64_t id);
unsigned conns_epoch(uint64_t id);

/* For specs: the generation that the next id of a fresh index begins with. */
void conns_set_first_generation(struct conns *c, uint32_t generation);

#endif
