/* keys.h - the keys of a cluster: up to three, the first of which is used.
 *
 * A key is 32 random bytes, written as base64 (`sdlua key` makes one).  What
 * is sent is sealed with the first, what arrives is accepted under any, so a
 * key is replaced on a running cluster: added everywhere, then put first
 * everywhere, then the old one is taken away.  On the wire a key is named by
 * its id, four bytes that say nothing about it.
 *
 * Without a key a ring has one made of the cluster's name.  It keeps two
 * clusters from mixing by accident and nobody out: for loopback only.
 *
 * Pure.  Secrets are wiped when they leave the ring, and no message shows
 * them. */
#ifndef SD_CLUSTER_KEYS_H
#define SD_CLUSTER_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/slice.h"

enum {
    KEYS_MAX = 3,
    KEYS_SECRET = 32, /* bytes of a key */
    KEYS_TEXT = 44,   /* the same as base64 */
    KEYS_ID = 4,
    KEYS_NAME = 8, /* bytes of a cluster's name on the wire */
};

struct key {
    uint64_t number; /* within the ring, never given twice: what was derived
                        from a key is kept under it */
    uint8_t id[KEYS_ID];
    uint8_t secret[KEYS_SECRET];
};

struct keys;

/* A ring without keys for the cluster of that name. */
struct keys *keys_new(struct slice cluster);
void keys_free(struct keys **kp);

/* Replace the ring's keys by those of `texts` (cluster.key), which may be
 * none.  A key that was there before keeps its number.  0, or SD_EINVALID
 * with a constant text in *why, and the ring is as it was. */
int keys_set(struct keys *k, const struct conf_list *texts, const char **why);

/* Has it only the key that anybody could make? */
bool keys_is_open(const struct keys *k);

/* Raised by every keys_set(): what depends on the ring compares it. */
uint64_t keys_version(const struct keys *k);

/* Key `i`, NULL behind the last; 0 is the one to send with.  Valid, as what
 * keys_find() gives, until the next keys_set(). */
const struct key *keys_at(const struct keys *k, unsigned i);
const struct key *keys_find(const struct keys *k, const uint8_t id[KEYS_ID]);

/* A hash of the cluster's name: what tells clusters apart on the wire. */
const uint8_t *keys_name(const struct keys *k);

/* The base64 of a key, strictly: 0 or SD_EINVALID. */
int keys_read(uint8_t secret[KEYS_SECRET], struct slice text);
void keys_write(char text[KEYS_TEXT + 1], const uint8_t secret[KEYS_SECRET]);

#endif
