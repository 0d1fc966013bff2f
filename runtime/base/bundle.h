/* bundle.h - the application as the master read it once: named byte strings
 * in one file.
 *
 * Written by the configuration child into a buf, then held in one sealed
 * memfd that every process maps read-only.  Names:
 *
 *     conf                    flattened configuration (base/conf.h)
 *     config                  the whole configuration tree as msgpack,
 *                             application's own files included
 *     sd/NAME.lua             the framework
 *     scripts/PATH.lua        application: controllers, models, ...
 *     scripts/redis/PATH.lua  Lua for Redis
 *     lib/PATH.lua  lua_modules/PATH.lua
 *
 * Layout, little-endian: "sdbundle" u32 version u32 count, then per entry
 * u32 name length, u32 data length, name NUL, data NUL. */
#ifndef SD_BASE_BUNDLE_H
#define SD_BASE_BUNDLE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    BUNDLE_VERSION = 1
};

/* Writing into an empty buf: begin, add..., end.  Names are unique; a later
 * one wins. */
void bundle_begin(struct buf *b);
void bundle_add(struct buf *b, const char *name, struct slice data);
void bundle_end(struct buf *b);

/* Put the bytes into a sealed memfd of their own, close-on-exec.  The
 * descriptor, or -errno. */
int bundle_seal(struct slice bytes);

struct bundle;

/* Map a sealed file.  The descriptor is borrowed.  0, -errno, SD_EREFUSED
 * where the file could still shrink or change, or SD_EPROTO. */
int bundle_open(struct bundle **out, int fd);

/* The same over bytes in memory, borrowed until close.  0 or SD_EPROTO. */
int bundle_open_bytes(struct bundle **out, struct slice bytes);
void bundle_close(struct bundle **bp);

/* 1 and the bytes (valid while open, NUL behind), or 0. */
int bundle_get(const struct bundle *b, const char *name, struct slice *data);

/* Iterate in the order written: i from 0 to bundle_count() - 1. */
unsigned bundle_count(const struct bundle *b);
void bundle_at(const struct bundle *b, unsigned i, struct slice *name,
               struct slice *data);

#endif
