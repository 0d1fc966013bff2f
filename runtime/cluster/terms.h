/* terms.h - what the two sides of a link derive from what was said: checks,
 * proofs, keys.  A part of the handshake (cluster/hand.h), without its order.
 *
 *     secret = HKDF-Extract(cluster key, X25519 of the two)
 *     T      = SHA-256(question | answer without its proof)
 *     K(l)   = HKDF-Expand(secret, "sdlua link 1 " l | T)
 *
 * The cluster's key keys the extraction: without it, the exchange is of no
 * use to somebody in between.  The exchange is the other half: the cluster's
 * key alone, found later, opens no recorded link.  T holds all that was said,
 * so two sides that heard different things (flags, keys, versions) have
 * nothing in common from there on.
 *
 * Labels differ by role, so a message sent back to its maker is wrong. */
#ifndef SD_CLUSTER_TERMS_H
#define SD_CLUSTER_TERMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "cluster/agree.h"

enum hand_role {
    HAND_WORKER,
    HAND_RELAY,
};

struct terms {
    unsigned char secret[AGREE_LEN];
    unsigned char transcript[AGREE_LEN]; /* T */
};

/* The check of a question: an HMAC that only a holder of the cluster's key can
 * make, under HKDF-Expand(cluster key, "sdlua link 1 question"). */
void terms_check(unsigned char *out, const unsigned char *cluster_key,
                 struct slice question);

/* Fill *t.  False, with nothing written: no exchange with that public key. */
bool terms_make(struct terms *t, const unsigned char *cluster_key,
                const unsigned char *own_private,
                const unsigned char *peer_public, struct slice question,
                struct slice answer);

/* The proof in the answer: K("answer"). */
void terms_answer(unsigned char *out, const struct terms *t);

/* The proof of `role`: HMAC under K(its name) over what was said before and
 * what is said now. */
void terms_prove(unsigned char *out, const struct terms *t, enum hand_role role,
                 struct slice before, struct slice now);

/* Hide an identity of `role` in place, or show it. */
void terms_hide(unsigned char *identity, size_t n, const struct terms *t,
                enum hand_role role);

/* The key of the records that `role` sends. */
void terms_records(unsigned char *out, const struct terms *t,
                   enum hand_role role);

#endif
