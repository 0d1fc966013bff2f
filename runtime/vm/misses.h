/* misses.h - sends to uids that have conns on several workers.
 *
 * Each of those workers takes the value or says that it missed.  When all of
 * them have, nobody has it, and the sender tells so.  Who is awaited is kept
 * in a table that forgets: of sends that arrive, which are nearly all, no
 * word ever comes. */
#ifndef SD_VM_MISSES_H
#define SD_VM_MISSES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/slice.h"

enum {
    MISSES = 1024 /* sends awaited at once */
};

struct misses {
    struct hash_key key;
    struct {
        uint64_t name; /* of the uid in that send */
        unsigned left; /* workers that have not said so */
    } at[MISSES];
};

void misses_init(struct misses *m);

/* `left` workers were sent that, and nobody here took it. */
void misses_expect(struct misses *m, uint64_t send, struct slice uid,
                   unsigned left);

/* One of them missed.  True: it was the last. */
bool misses_note(struct misses *m, uint64_t send, struct slice uid);

#endif
