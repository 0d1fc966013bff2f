/* misses.h - sends to uids that have conns on several workers.
 *
 * Each of those workers takes the value or says that it missed.  When all of
 * them have, nobody has it, and the sender tells so.  Who is awaited is kept
 * in a table that forgets the oldest: of sends that arrive, which are nearly
 * all, no word ever comes. */
#ifndef SD_VM_MISSES_H
#define SD_VM_MISSES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/slice.h"

/* One uid of one send. */
struct miss {
    uint64_t name;
    uint64_t send; /* 0: free */
    uint32_t left; /* workers that have not said so */
};

struct misses {
    struct hash_key key;
    struct miss *at;
    uint32_t size; /* a power of two */
};

void misses_init(struct misses *m);
void misses_fini(struct misses *m);

/* The next send may be to so many uids: none of them forgets another. */
void misses_reserve(struct misses *m, uint32_t uids);

/* `left` workers were sent that; sends are counted from 1. */
void misses_expect(struct misses *m, uint64_t send, struct slice uid,
                   uint32_t left);

/* One of them missed.  True: it was the last. */
bool misses_note(struct misses *m, uint64_t send, struct slice uid);

#endif
