/* etag.c - see etag.h.
 *
 * A file's tag is its time and size in hex: a change of the content that
 * keeps both to the nanosecond is not noticed, which is the bargain every web
 * server makes to avoid reading the file. */
#include "codec/etag.h"

#include <stdio.h>

size_t etag_write(char *out, int64_t mtime_ns, uint64_t size)
{
    char text[ETAG_MAX + 1];
    int n = snprintf(text, sizeof(text), "\"%llx-%llx\"",
                     (unsigned long long)mtime_ns, (unsigned long long)size);

    memcpy(out, text, (size_t)n);
    return (size_t)n;
}

static void skip_separators(struct slice *s)
{
    while (s->len > 0 && (s->p[0] == ' ' || s->p[0] == '\t' || s->p[0] == ','))
        *s = slice_skip(*s, 1);
}

static struct slice without_weak(struct slice s)
{
    return s.len > 2 && memcmp(s.p, "W/", 2) == 0 ? slice_skip(s, 2) : s;
}

/* Cut the next quoted tag off *list; tags may contain commas. */
static bool next_tag(struct slice *tag, struct slice *list)
{
    const char *end;
    size_t n;

    skip_separators(list);
    *list = without_weak(*list);
    if (list->len < 2 || list->p[0] != '"')
        return false;
    end = memchr(list->p + 1, '"', list->len - 1);
    if (end == NULL)
        return false;
    n = (size_t)(end - list->p) + 1;
    *tag = slice_make(list->p, n);
    *list = slice_skip(*list, n);
    return true;
}

bool etag_match(struct slice list, struct slice tag)
{
    struct slice one;

    tag = without_weak(tag);
    skip_separators(&list);
    if (slice_is(list, "*"))
        return true;
    while (next_tag(&one, &list)) {
        if (slice_eq(one, tag))
            return true;
    }
    return false;
}
