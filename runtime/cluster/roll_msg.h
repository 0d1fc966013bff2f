/* roll_msg.h - what the agents say to each other of a rolling reload.  Pure.
 *
 * One datagram each, sealed as gossip is (cluster/seal.h) and told from it by
 * its first byte.  docs/protocol-datagrams.md has the layout. */
#ifndef SD_CLUSTER_ROLL_MSG_H
#define SD_CLUSTER_ROLL_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    ROLL_MAGIC = 0x52,
    ROLL_VERSION = 1,
    ROLL_TEXT = 1000 /* bytes; what is longer is cut */
};

enum roll_type {
    ROLL_CLAIM = 1, /* be part of it; again and again: stay */
    ROLL_GO,        /* reload now, once; again: what came of it? */
    ROLL_FREE,      /* it is over */
    ROLL_STATE,     /* a node's answer to the first two */
    ROLL_TYPES
};

/* Of a node, in a rolling reload. */
enum roll_state {
    ROLL_CLAIMED = 1, /* it waits for its turn */
    ROLL_REFUSED,     /* it is part of another one: `text` says whose */
    ROLL_RUNNING,
    ROLL_DONE,   /* `generation` serves; `text`: notes */
    ROLL_FAILED, /* `text` says why; `generation` serves as before */
    ROLL_STATES
};

struct roll_msg {
    enum roll_type type;
    enum roll_state state; /* STATE */
    uint64_t from, to;     /* boots */
    uint64_t id;           /* of the rolling reload */
    uint64_t nonce;        /* STATE: the node's; GO repeats it */
    uint32_t generation;   /* STATE */
    struct slice text;     /* STATE; of a message that was read: in its bytes */
};

/* Is it one of these, or of gossip? */
static inline bool roll_msg_is(struct slice bytes)
{
    return bytes.len > 0 && (unsigned char)bytes.p[0] == ROLL_MAGIC;
}

void roll_msg_write(struct buf *out, const struct roll_msg *m);

/* 0 or SD_EPROTO. */
int roll_msg_read(struct roll_msg *m, struct slice bytes);

#endif
