/* hkdf.h - keys made of a key: HKDF with SHA-256 (RFC 5869), 32 bytes out.
 *
 * Pure.  Kept open, because OpenSSL needs longer to find an algorithm than to
 * run it. */
#ifndef SD_CLUSTER_HKDF_H
#define SD_CLUSTER_HKDF_H

#include <stdint.h>

#include "base/slice.h"

enum {
    HKDF_OUT = 32
};

struct hkdf;

struct hkdf *hkdf_new(void);
void hkdf_free(struct hkdf **hp);

/* The key that `secret`, `salt` and `info` make; none may be empty. */
void hkdf_make(struct hkdf *h, uint8_t out[HKDF_OUT], struct slice secret,
               struct slice salt, struct slice info);

#endif
