/* http_target.c - see http_target.h.
 *
 * A target keeps its percent coding here: whoever compares or opens the path
 * decodes it once, at the place that knows what it may contain. */
#include "codec/http_target.h"

#include <stdint.h>

#include "base/err.h"
#include "codec/http_text.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_port(struct slice s)
{
    unsigned n = 0;
    size_t i;

    for (i = 0; i < s.len; i++) {
        if (!is_digit(s.p[i]) || i == 5)
            return false;
        n = n * 10 + (unsigned)(s.p[i] - '0');
    }
    return n <= 65535;
}

/* Length of "[...]" in front of `s`; 0: it is no address. */
static size_t bracketed_length(struct slice s)
{
    size_t i;

    for (i = 1; i < s.len; i++) {
        char low = http_text_lower[(uint8_t)s.p[i]];

        if (s.p[i] == ']')
            return i > 2 ? i + 1 : 0;
        if (!is_digit(low) && !(low >= 'a' && low <= 'f') && s.p[i] != ':' &&
            low != '.')
            return 0;
    }
    return 0;
}

/* Bytes of a name or an IPv4 address: those of a token, less some. */
static const char not_in_name[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['^'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,
};

static size_t name_length(struct slice s)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.p[i];

        if (http_text_lower[c] == 0 || not_in_name[c])
            break;
    }
    return i;
}

bool http_target_is_host(struct slice s)
{
    size_t n;

    if (s.len == 0)
        return false;
    n = s.p[0] == '[' ? bracketed_length(s) : name_length(s);
    if (n == 0 || n == s.len)
        return n > 0;
    return s.p[n] == ':' && is_port(slice_skip(s, n + 1));
}

static bool is_visible(struct slice s)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        /* One comparison: 0x21..0x7e, all others wrap past the end. */
        if ((uint8_t)(s.p[i] - 0x21) > 0x7e - 0x21)
            return false;
    }
    return true;
}

/* Cut "http://host" off *s, into *host. */
static bool cut_authority(struct slice *host, struct slice *s)
{
    const char *colon = memchr(s->p, ':', s->len);
    struct slice scheme, rest;
    size_t n = 0;

    if (colon == NULL)
        return false;
    scheme = slice_make(s->p, (size_t)(colon - s->p));
    rest = slice_skip(*s, scheme.len);
    if (!http_text_eq(scheme, "http") && !http_text_eq(scheme, "https"))
        return false;
    if (rest.len < 3 || memcmp(rest.p, "://", 3) != 0)
        return false;
    rest = slice_skip(rest, 3);
    while (n < rest.len && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    *host = slice_make(rest.p, n);
    *s = slice_skip(rest, n);
    return http_target_is_host(*host);
}

int http_target_parse(struct http_target *out, struct slice text)
{
    struct http_target t = {slice_make(text.p, 0), text,
                            slice_make(text.p + text.len, 0)};
    const char *mark;

    if (text.len == 0 || !is_visible(text) ||
        memchr(text.p, '#', text.len) != NULL)
        return SD_EINVALID;
    if (text.p[0] != '/' && !cut_authority(&t.host, &t.path))
        return SD_EINVALID;
    mark = t.path.len > 0 ? memchr(t.path.p, '?', t.path.len) : NULL;
    if (mark != NULL) {
        size_t n = (size_t)(mark - t.path.p);

        t.query = slice_skip(t.path, n + 1);
        t.path.len = n;
    }
    /* An absolute target may leave the path out: then it is the last slash in
     * front of the host, for there is no other to point at. */
    if (t.path.len == 0)
        t.path = slice_make(t.host.p - 1, 1);
    *out = t;
    return 0;
}
