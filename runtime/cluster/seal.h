/* seal.h - datagrams between the agents of a cluster, sealed and opened.
 *
 *     0   1    magic, SEAL_MAGIC
 *     1   1    version, SEAL_VERSION
 *     2   4    id of the cluster key
 *     6   16   salt: random bytes of the sending process's start
 *     22  8    counter, big-endian, from 1
 *     30  n    what is said, AES-256-GCM
 *     ..  16   its tag, over all of this and the hash of the cluster's name
 *
 * Each process seals with a key of its own, made of the cluster's key and its
 * salt; the counter is the nonce.  Whoever opens keeps, for each sender, the
 * key and a window of the last 1,024 counters, so nothing is taken twice.
 *
 * Pure: the salt and the time are the caller's.  Keys follow the ring by
 * themselves when keys_set() has changed it; what was derived from keys that
 * stay, is kept. */
#ifndef SD_CLUSTER_SEAL_H
#define SD_CLUSTER_SEAL_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cluster/keys.h"

enum {
    SEAL_MAGIC = 0xd5,
    SEAL_VERSION = 1,
    SEAL_SALT = 16,
    SEAL_HEAD = 30,
    SEAL_TAG = 16,
    SEAL_OVERHEAD = SEAL_HEAD + SEAL_TAG,
    SEAL_DATAGRAM_MAX = 65507, /* what UDP can carry */
    SEAL_SENDERS = 4096,       /* for seal_new(), when nothing says better */
    SEAL_STRANGERS = 1000      /* unknown senders disbelieved a second, at
                                  most; then none is tried */
};

/* What became of a datagram.  All but the first: dropped. */
enum seal_verdict {
    SEAL_OPENED,
    SEAL_BAD_SIZE, /* shorter than an empty one, or longer than UDP's */
    SEAL_BAD_MAGIC,
    SEAL_BAD_VERSION,
    SEAL_BAD_KEY, /* its id is not in our ring */
    SEAL_OWN,     /* sent by ourselves */
    SEAL_REPLAYED,
    SEAL_OLD,     /* behind the window */
    SEAL_CROWDED, /* too many strangers this second: not tried */
    SEAL_BAD_TAG, /* forged, damaged, or of another cluster */
    SEAL_VERDICTS
};

struct seal;

/* `ring` is kept and outlives the seal.  `salt` has to be random and new for
 * every process.  At most `senders` senders are remembered: beyond them the
 * one that was silent for longest is forgotten, and with it its window. */
struct seal *seal_new(const struct keys *ring, const uint8_t salt[SEAL_SALT],
                      unsigned senders);
void seal_free(struct seal **sp);

/* Append `plain` as one datagram.  0 or SD_ETOOLARGE. */
int seal_wrap(struct seal *s, struct slice plain, struct buf *out);

/* Append what `datagram`, which lies outside of `out`, says; nothing unless
 * the verdict is SEAL_OPENED.
 * `now` is in milliseconds and does not go back. */
enum seal_verdict seal_unwrap(struct seal *s, uint64_t now,
                              struct slice datagram, struct buf *out);

/* How many datagrams have had this verdict. */
uint64_t seal_count(const struct seal *s, enum seal_verdict v);

/* The last one of these was to be expected, and does not count. */
void seal_excuse(struct seal *s, enum seal_verdict v);

/* One word, for logs and metrics. */
const char *seal_word(enum seal_verdict v);

/* Senders remembered. */
unsigned seal_senders(const struct seal *s);

#endif
