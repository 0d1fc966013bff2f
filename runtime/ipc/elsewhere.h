/* elsewhere.h - which uids have conns on several nodes, in shared memory.
 *
 * A bit for the hash of each, set by whoever learns of one and seen by all
 * processes of the node: a send to such a uid goes to the other nodes too.  A
 * bit that two uids share costs a message, nothing else.
 *
 * It would be full in the end, and every send would go abroad.  So there are
 * two maps: bits are set in the younger one, and looked for in both, and from
 * time to time the older one is cleared to be the younger.  Who is elsewhere
 * still has been noted again by then. */
#ifndef SD_IPC_ELSEWHERE_H
#define SD_IPC_ELSEWHERE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    ELSEWHERE_BITS = 1 << 20
};

struct elsewhere; /* zeroed memory is an empty one; aligned to 64 */

size_t elsewhere_size(void);

/* True when the bit was not set before. */
bool elsewhere_set(struct elsewhere *e, struct slice uid);
bool elsewhere_has(const struct elsewhere *e, struct slice uid);

/* Forget what was not noted since the last turn.  One process at a time. */
void elsewhere_turn(struct elsewhere *e);

/* Is no bit set? */
bool elsewhere_is_empty(const struct elsewhere *e);

/* The same on all nodes. */
uint64_t elsewhere_hash(struct slice uid);

#endif
