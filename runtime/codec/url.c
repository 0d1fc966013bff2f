/* url.c - see url.h.
 *
 * Decoding happens exactly once and never half: an encoded slash or dot
 * segment that a first reader overlooks and a second one decodes is how files
 * outside the folder get served.  So url_path() judges the decoded names, and
 * what a slash was before decoding is no slash after it. */
#include "codec/url.h"

#include <stdint.h>

#include "base/err.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decode into `to`, which has room for in.len bytes.  Length, or -1. */
static ptrdiff_t decode(char *to, struct slice in, bool plus)
{
    char *start = to;
    size_t i;

    for (i = 0; i < in.len; i++) {
        int high, low;

        if (in.p[i] != '%') {
            *to++ = in.p[i];
            if (plus && in.p[i] == '+')
                to[-1] = ' ';
            continue;
        }
        if (in.len - i < 3)
            return -1;
        high = hex_value(in.p[i + 1]);
        low = hex_value(in.p[i + 2]);
        if (high < 0 || low < 0)
            return -1;
        *to++ = (char)(high << 4 | low);
        i += 2;
    }
    return to - start;
}

int url_decode(struct buf *out, struct slice in, bool plus)
{
    ptrdiff_t n;

    if (in.len == 0)
        return 0;
    n = decode(buf_reserve(out, in.len), in, plus);
    if (n < 0)
        return SD_EINVALID;
    buf_commit(out, (size_t)n);
    return 0;
}

static bool is_unreserved(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' ||
           c == '~';
}

void url_encode(struct buf *out, struct slice in)
{
    static const char digits[] = "0123456789ABCDEF";
    char *start = buf_reserve(out, in.len * 3);
    char *to = start;
    size_t i;

    for (i = 0; i < in.len; i++) {
        uint8_t c = (uint8_t)in.p[i];

        if (is_unreserved(in.p[i])) {
            *to++ = in.p[i];
            continue;
        }
        *to++ = '%';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    buf_commit(out, (size_t)(to - start));
}

bool url_next_pair(struct slice *name, struct slice *value, struct slice *rest)
{
    while (rest->len > 0) {
        const char *end = memchr(rest->p, '&', rest->len);
        size_t n = end != NULL ? (size_t)(end - rest->p) : rest->len;
        struct slice pair = slice_make(rest->p, n);
        const char *equals = n > 0 ? memchr(pair.p, '=', n) : NULL;
        size_t left = equals != NULL ? (size_t)(equals - pair.p) : n;

        *rest = slice_skip(*rest, end != NULL ? n + 1 : n);
        if (n == 0)
            continue;
        *name = slice_make(pair.p, left);
        *value = slice_skip(pair, equals != NULL ? left + 1 : n);
        return true;
    }
    return false;
}

static bool is_segment(struct slice s, bool first)
{
    size_t i;

    if (s.len == 0 || s.len > URL_MAX_SEGMENT)
        return false;
    if (s.p[0] == '.' && !(first && slice_is(s, ".well-known")))
        return false;
    for (i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.p[i];

        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
            return false;
    }
    return true;
}

/* Decode the segments of `path` one by one.  Length of the result, or -1. */
static ptrdiff_t decode_path(char *to, struct slice path)
{
    char *start = to;

    while (path.len > 0) {
        const char *slash = memchr(path.p, '/', path.len);
        size_t n = slash != NULL ? (size_t)(slash - path.p) : path.len;
        ptrdiff_t got = decode(to, slice_make(path.p, n), false);

        if (got < 0 || !is_segment(slice_make(to, (size_t)got), to == start))
            return -1;
        to += got;
        if (slash != NULL)
            *to++ = '/';
        path = slice_skip(path, slash != NULL ? n + 1 : n);
    }
    return to - start;
}

int url_path(struct buf *out, struct slice path)
{
    ptrdiff_t n;

    if (path.len == 0 || path.p[0] != '/')
        return SD_EINVALID;
    if (path.len == 1)
        return 0;
    path = slice_skip(path, 1);
    n = decode_path(buf_reserve(out, path.len), path);
    if (n < 0 || n > URL_MAX_PATH)
        return SD_EINVALID;
    buf_commit(out, (size_t)n);
    return 0;
}
