/* etag.h - entity tags of files, and the lists clients send back. */
#ifndef SD_CODEC_ETAG_H
#define SD_CODEC_ETAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    ETAG_MAX = 40
};

/* Write a strong tag, quotes included, made of a file's time and size; at
 * most ETAG_MAX bytes, no NUL.  Returns its length. */
size_t etag_write(char *out, int64_t mtime_ns, uint64_t size);

/* Does an If-None-Match value name `tag` (with its quotes)?  Weak comparison;
 * "*" names every tag.  A malformed list matches as far as it is well-formed.
 */
bool etag_match(struct slice list, struct slice tag);

#endif
