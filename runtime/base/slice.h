/* slice.h - borrowed bytes: a pointer and a length, owned by somebody else. */
#ifndef SD_BASE_SLICE_H
#define SD_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *p;
    size_t len;
};

static inline struct slice slice_make(const void *p, size_t len)
{
    return (struct slice){(const char *)p, len};
}

static inline struct slice slice_str(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *s)
{
    return slice_eq(a, slice_str(s));
}

/* Drop the first `n` bytes; `n` must not exceed the length. */
static inline struct slice slice_skip(struct slice a, size_t n)
{
    return (struct slice){a.p + n, a.len - n};
}

#endif
