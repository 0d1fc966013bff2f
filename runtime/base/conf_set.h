/* conf_set.h - texts become values in the structs of a conf.
 *
 * Private to base/conf.c.  What a struct points to lives in the conf's arena,
 * as long as the conf. */
#ifndef SD_BASE_CONF_SET_H
#define SD_BASE_CONF_SET_H

#include <stddef.h>

#include "base/conf.h"
#include "base/conf_schema.h"

struct conf_arena;

enum {
    CONF_WHY_MAX = 256
};

/* With one copy of the entries, which values may point into. */
struct conf_arena *conf_arena_new(struct slice entries);
void conf_arena_free(struct conf_arena **ap);

/* That copy: its bytes may be changed in place. */
char *conf_arena_text(struct conf_arena *a, size_t *len);

/* Keep the block `p` (taken) until the end; returns it. */
void *conf_arena_keep(struct conf_arena *a, void *p);

/* Put one text where its key says; items of a list are pushed.  The text is
 * kept, not copied.  0, or SD_EINVALID with a line in `why`. */
struct conf_text {
    const char *p; /* NUL-terminated, and may hold NULs */
    size_t len;
};
int conf_set(struct conf_arena *a, void *section, const struct conf_key *key,
             struct conf_text text, char why[CONF_WHY_MAX]);

/* All defaults of the keys whose paths begin with `prefix`. */
void conf_set_defaults(struct conf_arena *a, void *section, const char *prefix);

#endif
