/* topics_level.h - the levels of names and filters, for topics*.c alone. */
#ifndef SD_NET_TOPICS_LEVEL_H
#define SD_NET_TOPICS_LEVEL_H

#include <stdbool.h>
#include <string.h>

#include "base/slice.h"

/* Cut the first level off; false: there is none left.  A name that ends in
 * '/' has an empty last level, so the end is p = NULL, not len = 0. */
static inline bool next_level(struct slice *level, struct slice *rest)
{
    const char *end;

    if (rest->p == NULL)
        return false;
    end = memchr(rest->p, '/', rest->len);
    if (end == NULL) {
        *level = *rest;
        *rest = slice_make(NULL, 0);
        return true;
    }
    *level = slice_make(rest->p, (size_t)(end - rest->p));
    *rest = slice_skip(*rest, level->len + 1);
    return true;
}

static inline bool is_level(struct slice level, char wildcard)
{
    return level.len == 1 && level.p[0] == wildcard;
}

static inline bool has_wildcard(struct slice s)
{
    return memchr(s.p, '+', s.len) != NULL || memchr(s.p, '#', s.len) != NULL;
}

#endif
