/* http_text.h - what the bytes of HTTP may be: tokens, field values, lists. */
#ifndef SD_CODEC_HTTP_TEXT_H
#define SD_CODEC_HTTP_TEXT_H

#include <stdbool.h>

#include "base/slice.h"

/* A token byte in lower case; 0 for a byte no token may have. */
extern const char http_text_lower[256];

/* A token (RFC 9110): not empty, token bytes only. */
bool http_text_is_token(struct slice s);

/* A field value: no control character but tab; may be empty. */
bool http_text_is_value(struct slice s);

static inline bool http_text_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Without the spaces and tabs around. */
static inline struct slice http_text_trim(struct slice s)
{
    while (s.len > 0 && http_text_is_blank(s.p[0]))
        s = slice_skip(s, 1);
    while (s.len > 0 && http_text_is_blank(s.p[s.len - 1]))
        s.len--;
    return s;
}

/* Equal to `lower` in any letter case? */
bool http_text_eq(struct slice s, const char *lower);

/* The next element of a comma-separated list, trimmed and perhaps empty;
 * *rest is advanced.  Knows no quoted strings.  false: the list has ended. */
bool http_text_next(struct slice *element, struct slice *rest);

#endif
