/* agree.h - what two processes that share a key can agree on in public.
 *
 * The few uses of libcrypto that the handshake of a link and the keys of
 * datagrams are made of: an X25519 exchange, HKDF with SHA-256 (RFC 5869),
 * HMAC, and a way to hide a short text under a key that is used once.  Every
 * secret is 32 bytes. */
#ifndef SD_CLUSTER_AGREE_H
#define SD_CLUSTER_AGREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

enum {
    AGREE_LEN = 32,
    AGREE_INFO_MAX = 128, /* bytes of a label and what follows it */
};

/* The public half of a private key, which is any 32 random bytes. */
void agree_public(unsigned char *out, const unsigned char *private_key);

/* What both sides get from their own private and the other's public key.
 * False for the public keys that make the same secret with everybody; then
 * nothing was written. */
bool agree_shared(unsigned char *out, const unsigned char *private_key,
                  const unsigned char *public_key);

/* HMAC-SHA256. */
void agree_mac(unsigned char *out, const unsigned char *key,
               struct slice bytes);

/* HKDF-Extract: a secret of 32 bytes, made of one of any length. */
void agree_extract(unsigned char *out, struct slice salt, struct slice secret);

/* HKDF-Expand of `secret` to 32 bytes, the info being label | context.  `out`
 * may be where `secret` is. */
void agree_expand(unsigned char *out, const unsigned char *secret,
                  const char *label, struct slice context);

/* SHA-256 of two pieces. */
void agree_hash(unsigned char *out, struct slice a, struct slice b);

/* Are these 32 bytes the same?  Takes as long for every answer. */
bool agree_same(const unsigned char *a, const unsigned char *b);

/* Hide `n` bytes in place, or show them again (AES-256-CTR from 0).  Only
 * under a key that hides nothing else, and not authenticated. */
void agree_hide(unsigned char *bytes, size_t n, const unsigned char *key);

/* Overwrite what must not be found in memory afterwards. */
void agree_wipe(void *p, size_t n);

#endif
