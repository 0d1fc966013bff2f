/* claim.h - a node's side of a rolling reload: whose turn it waits for, and
 * what came of it.  Pure.
 *
 * A node is part of one rolling reload at a time.  It is claimed by the member
 * that runs it, and free again when that says so, or is silent for CLAIM_LEASE.
 * A claim is answered with a number drawn for it; only who repeats it has a
 * reload, and one only: so neither a repeated datagram nor a recorded one makes
 * two. */
#ifndef SD_CLUSTER_CLAIM_H
#define SD_CLUSTER_CLAIM_H

#include <stdint.h>

#include "base/buf.h"
#include "cluster/dice.h"
#include "cluster/roll_msg.h"

enum {
    CLAIM_LEASE = 10000, /* ms */
    CLAIM_NAME = 65      /* of a member, with NUL */
};

/* Private. */
struct claim {
    uint64_t self; /* boot */
    struct dice dice;
    uint64_t id;    /* of the rolling reload; 0: there was none yet */
    uint64_t nonce; /* ours for it */
    uint64_t until; /* end of the lease */
    char owner[CLAIM_NAME];
    enum roll_state state;
    uint32_t generation;
    struct buf text; /* of its outcome */
};

/* `seed` is random and secret. */
void claim_init(struct claim *c, uint64_t self, uint64_t seed);
void claim_fini(struct claim *c);

/* A message for us, of the member of that name; `generation` serves now.  True:
 * begin a reload, whose end claim_end() is told.  With `answer->type` not 0, it
 * is what goes back; its text is borrowed until the next call. */
bool claim_take(struct claim *c, uint64_t now, const struct roll_msg *m,
                struct slice name, uint32_t generation,
                struct roll_msg *answer);

/* The reload has ended: `text` says why it failed, or what is to be said beside
 * its success. */
void claim_end(struct claim *c, bool is_done, uint32_t generation,
               struct slice text);

#endif
