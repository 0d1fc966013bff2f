/* tally.h - how many conns the workers of a node have, for limits: by a small
 * number (all, those of a port) or by a key (those of an address).
 *
 * Each worker counts in a part of shared memory that only it writes; a limit
 * is judged by the sum of all parts.  A part belongs to an epoch of its slot:
 * when the master raises the epoch, all in it is void at once.  Who takes a
 * place counts first and looks then, so no limit is ever passed; of two that
 * come for the last place in the same instant both may be refused. */
#ifndef SD_IPC_TALLY_H
#define SD_IPC_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    TALLY_ALIGN = 64 /* of a block, bytes */
};

struct slots;
struct tally; /* what one worker knows about the block */

/* Of a block: workers, numbers counted by, and keys in use in one worker. */
struct tally_shape {
    unsigned workers;
    unsigned numbers;
    uint32_t keys;
};

/* Bytes of a block; pages never touched cost nothing. */
size_t tally_size(const struct tally_shape *shape);

/* Master: once, on zeroed and aligned memory, before any worker runs. */
void tally_init(void *mem, const struct tally_shape *shape);

/* Worker: begin to count, from nothing.  Keeps `mem` and `slots`; those may be
 * NULL for a worker that is alone. */
struct tally *tally_open(void *mem, const struct slots *slots, unsigned self,
                         uint16_t epoch);
void tally_close(struct tally **tp);

/* One more; false: the workers together have `max` (0: no limit) already. */
bool tally_take(struct tally *t, unsigned number, uint32_t max);
void tally_give(struct tally *t, unsigned number);

/* The number that stands for a name, the same in all workers and never 0.
 * Nobody outside can make two names meet. */
uint64_t tally_key(const struct tally *t, struct slice name);

/* One more, and one less, of a key. */
bool tally_take_key(struct tally *t, uint64_t key, uint32_t max);
void tally_give_key(struct tally *t, uint64_t key);

/* Of this worker. */
uint32_t tally_own(const struct tally *t, unsigned number);

/* Of all workers, now. */
uint32_t tally_sum(const struct tally *t, unsigned number);
uint32_t tally_sum_key(const struct tally *t, uint64_t key);

#endif
