/* meta.h - what a member says about itself, beside who and where it is.  Pure.
 *
 * A msgpack map with short keys, so that members of other versions read what
 * they know and pass over the rest. */
#ifndef SD_CLUSTER_META_H
#define SD_CLUSTER_META_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    META_RELAYS = 64,
    META_VERSION = 32 /* bytes of a version's text, with NUL */
};

struct meta {
    char version[META_VERSION]; /* of sdlua */
    uint32_t generation;        /* of the code it serves */
    uint32_t conns;
    uint64_t redis; /* of a node: which one keeps the cluster; 0: not known */
    bool is_draining;
    uint32_t nrelays;
    uint16_t relays[META_RELAYS]; /* ports, at the member's address */
};

void meta_write(struct buf *out, const struct meta *m);

/* 0 or SD_EINVALID. */
int meta_read(struct meta *out, struct slice bytes);

#endif
