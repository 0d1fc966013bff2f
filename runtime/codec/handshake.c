/* handshake.c - see handshake.h.
 *
 * An origin is compared as scheme, host and port, never as text, because a
 * browser leaves the default port out and a proxy may not.  What does not
 * parse as an origin equals nothing: user info, a path, an empty host or a
 * port that is no number are all refused. */
#include "codec/handshake.h"

#include <stdint.h>
#include <strings.h>

enum {
    KEY_LEN = 24,    /* base64 of 16 bytes */
    KEY_DIGITS = 22, /* the rest is padding */
};

struct origin {
    struct slice scheme;
    struct slice host;
    unsigned port;
};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

bool handshake_is_key(struct slice key)
{
    size_t i;

    if (key.len != KEY_LEN)
        return false;
    for (i = 0; i < KEY_DIGITS; i++) {
        if (!is_alnum(key.p[i]) && key.p[i] != '+' && key.p[i] != '/')
            return false;
    }
    return key.p[KEY_DIGITS] == '=' && key.p[KEY_DIGITS + 1] == '=';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_space(s.p[0]))
        s = slice_skip(s, 1);
    while (s.len > 0 && is_space(s.p[s.len - 1]))
        s.len--;
    return s;
}

/* The next element of a comma-separated list, which loses it; false at the
 * end.  Elements may be empty. */
static bool list_take(struct slice *list, struct slice *element)
{
    const char *comma;

    if (list->len == 0)
        return false;
    comma = memchr(list->p, ',', list->len);
    if (comma == NULL) {
        *element = trim(*list);
        *list = slice_skip(*list, list->len);
    } else {
        *element = trim(slice_make(list->p, (size_t)(comma - list->p)));
        *list = slice_skip(*list, (size_t)(comma - list->p) + 1);
    }
    return true;
}

static bool same_caseless(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.p, b.p, a.len) == 0);
}

bool handshake_has_token(struct slice list, const char *token)
{
    struct slice element;

    while (list_take(&list, &element)) {
        if (same_caseless(element, slice_str(token)))
            return true;
    }
    return false;
}

int handshake_protocol(struct slice list, const struct slice *ours, size_t n)
{
    struct slice element;
    size_t i;

    while (list_take(&list, &element)) {
        for (i = 0; i < n; i++) {
            if (element.len > 0 && slice_eq(element, ours[i]))
                return (int)i;
        }
    }
    return -1;
}

/* --- origins ---------------------------------------- */

static bool parse_port(unsigned *out, struct slice s)
{
    unsigned port = 0;
    size_t i;

    if (s.len < 1 || s.len > 5)
        return false;
    for (i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        port = port * 10 + (unsigned)(s.p[i] - '0');
    }
    if (port < 1 || port > UINT16_MAX)
        return false;
    *out = port;
    return true;
}

/* The letters of a name and of percent-encoding; no delimiter of a URL. */
static bool is_host(struct slice s)
{
    static const char others[] = "-._~%!$&'()*+;=";
    size_t i;

    for (i = 0; i < s.len; i++) {
        if (!is_alnum(s.p[i]) &&
            memchr(others, s.p[i], sizeof(others) - 1) == NULL)
            return false;
    }
    return s.len > 0;
}

static bool is_address6(struct slice s)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        if (!is_alnum(s.p[i]) && s.p[i] != ':' && s.p[i] != '.')
            return false;
    }
    return s.len > 0;
}

/* host[:port] or [v6][:port]; without a port *port stays as it was. */
static bool parse_authority(struct slice *host, unsigned *port, struct slice s)
{
    bool v6 = s.len > 0 && s.p[0] == '[';
    const char *end = s.len > 0 ? memchr(s.p, v6 ? ']' : ':', s.len) : NULL;
    size_t len;

    if (v6) {
        if (end == NULL ||
            !is_address6(slice_make(s.p + 1, (size_t)(end - s.p) - 1)))
            return false;
        len = (size_t)(end - s.p) + 1;
    } else {
        len = end != NULL ? (size_t)(end - s.p) : s.len;
        if (!is_host(slice_make(s.p, len)))
            return false;
    }
    *host = slice_make(s.p, len);
    s = slice_skip(s, len);
    if (s.len == 0)
        return true;
    return s.p[0] == ':' && parse_port(port, slice_skip(s, 1));
}

static unsigned scheme_port(struct slice scheme)
{
    if (same_caseless(scheme, slice_str("http")))
        return 80;
    if (same_caseless(scheme, slice_str("https")))
        return 443;
    return 0;
}

static bool parse_origin(struct origin *o, struct slice s)
{
    const char *mark = s.len > 0 ? memmem(s.p, s.len, "://", 3) : NULL;

    if (mark == NULL || mark == s.p)
        return false;
    o->scheme = slice_make(s.p, (size_t)(mark - s.p));
    o->port = scheme_port(o->scheme);
    return parse_authority(&o->host, &o->port,
                           slice_skip(s, o->scheme.len + 3));
}

bool handshake_is_same_origin(struct slice origin, struct slice host)
{
    struct origin o;
    struct slice name;
    unsigned port;

    if (!parse_origin(&o, origin))
        return false;
    port = scheme_port(o.scheme);
    if (!parse_authority(&name, &port, host))
        return false;
    return same_caseless(o.host, name) && o.port == port;
}

bool handshake_is_origin(struct slice origin, struct slice allowed)
{
    struct origin a, b;

    if (!parse_origin(&a, origin) || !parse_origin(&b, allowed))
        return false;
    return same_caseless(a.scheme, b.scheme) && same_caseless(a.host, b.host) &&
           a.port == b.port;
}
