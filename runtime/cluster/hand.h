/* hand.h - the handshake of a link: who is it, and which keys from now on.
 *
 * Bytes in, bytes out, for a worker (which connects) and a relay (which
 * listens).  Each side proves that it has the cluster's key, learns the
 * other's identity, and ends with two session keys that nobody can find
 * later who gets hold of the cluster's key.  docs/protocol-links.md has the
 * bytes.
 *
 *     h = hand_create(HAND_WORKER, &conf, entropy, &out);   send `out`
 *     n = hand_feed(h, received, &out);                     send `out`
 *     ... until hand_session(h) is not NULL; then the rest of `received`,
 *     from n on, belongs to the stream (cluster/stream.h).
 *
 * The caller closes a link that is not through after 5 s. */
#ifndef SD_CLUSTER_HAND_H
#define SD_CLUSTER_HAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cluster/questions.h"
#include "cluster/terms.h" /* enum hand_role */

enum {
    HAND_VERSION = 1,
    HAND_KEYS = 3,           /* at most so many keys are accepted */
    HAND_KEY = 32,           /* bytes of a key */
    HAND_KEY_ID = 4,         /* bytes of a key's id */
    HAND_CLUSTER = 8,        /* bytes of the hash of the cluster's name */
    HAND_ENTROPY = 64,       /* random bytes that one handshake uses up */
    HAND_HELLO = 116,        /* bytes of the first message of either side */
    HAND_IDENTITY_MAX = 400, /* bytes of an identity */
    HAND_PROOF_MAX = 2 + 32 + HAND_IDENTITY_MAX,
    HAND_TAKE_MAX = HAND_HELLO + HAND_PROOF_MAX, /* that a peer can place */
};

/* Why a handshake ended.  A relay tells its log, never the peer. */
enum hand_why {
    HAND_FINE,
    HAND_STRANGER,      /* not this protocol at all */
    HAND_OTHER_VERSION, /* hand_peer_version() has which */
    HAND_OTHER_CLUSTER,
    HAND_UNKNOWN_KEY,
    HAND_WRONG_PROOF, /* another key under the same id, or a forger */
    HAND_MALFORMED,
    HAND_REPEATED, /* a question that was asked before */
};

struct hand_key {
    unsigned char id[HAND_KEY_ID];
    unsigned char key[HAND_KEY];
};

struct hand_conf {
    const struct hand_key *keys; /* a worker uses the first */
    unsigned nkeys;              /* 1 to HAND_KEYS */
    unsigned char cluster[HAND_CLUSTER];
    bool plain;              /* do without encryption if the peer agrees */
    struct slice identity;   /* ours, opaque here */
    struct questions *asked; /* a relay's, borrowed; NULL: not remembered */
};

struct hand_session {
    unsigned char send[HAND_KEY];
    unsigned char receive[HAND_KEY];
    unsigned char key_id[HAND_KEY_ID]; /* of the cluster key in use */
    bool encrypted;                    /* false: both wanted plaintext */
    struct slice peer;                 /* its identity; lives as long as hand */
};

struct hand;

/* Copies what it needs of `conf`.  `entropy` is HAND_ENTROPY random bytes for
 * this handshake alone.  A worker's first message is appended to `out`. */
struct hand *hand_create(enum hand_role role, const struct hand_conf *conf,
                         const unsigned char *entropy, struct buf *out);
void hand_free(struct hand **h); /* wipes its secrets */

/* Take received bytes and append what is to be sent.  The number of bytes
 * taken: all of them, or up to the end of the handshake.  SD_EPROTO: it has
 * failed, now and for every later call; close the link without sending. */
int hand_feed(struct hand *h, struct slice in, struct buf *out);

/* What was agreed, once the peer has proved its key and all of ours is in
 * `out`; else NULL.  Open the stream with it, then free the hand. */
const struct hand_session *hand_session(const struct hand *h);

/* Has the peer's first message shown that its maker had the key?  Of a worker
 * that may be a recording, so it proves nothing yet. */
bool hand_has_asked(const struct hand *h);

enum hand_why hand_why(const struct hand *h);
const char *hand_why_text(enum hand_why why); /* one line for a person */
unsigned hand_peer_version(const struct hand *h);

#endif
