/* cookie.c - see cookie.h.
 *
 * Reading is lenient, because browsers send back what other servers and
 * scripts of the page have set; writing is strict, because a byte too many in
 * Set-Cookie is an attribute, or a header, that somebody else chose. */
#include "codec/cookie.h"

#include "base/err.h"
#include "codec/http_text.h"

static struct slice unquote(struct slice s)
{
    if (s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"')
        return slice_make(s.p + 1, s.len - 2);
    return s;
}

bool cookie_next(struct slice *name, struct slice *value, struct slice *rest)
{
    while (rest->len > 0) {
        const char *end = memchr(rest->p, ';', rest->len);
        size_t n = end != NULL ? (size_t)(end - rest->p) : rest->len;
        struct slice part = slice_make(rest->p, n);
        const char *equals = n > 0 ? memchr(part.p, '=', n) : NULL;
        struct slice left;

        *rest = slice_skip(*rest, end != NULL ? n + 1 : n);
        if (equals == NULL)
            continue;
        left = slice_make(part.p, (size_t)(equals - part.p));
        left = http_text_trim(left);
        if (left.len == 0)
            continue;
        *name = left;
        n = (size_t)(equals - part.p) + 1;
        *value = unquote(http_text_trim(slice_skip(part, n)));
        return true;
    }
    return false;
}

/* Cookie octets of RFC 6265: visible ASCII without quote, comma, semicolon
 * and backslash. */
static bool is_value(struct slice s)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (c <= 0x20 || c >= 0x7f || c == '"' || c == ',' || c == ';' ||
            c == '\\')
            return false;
    }
    return true;
}

static bool is_attribute(struct slice s)
{
    return http_text_is_value(s) &&
           (s.len == 0 || memchr(s.p, ';', s.len) == NULL);
}

static void append(struct buf *out, const char *name, struct slice value)
{
    buf_append_str(out, name);
    buf_append(out, value.p, value.len);
}

int cookie_write(struct buf *out, const struct cookie *c)
{
    static const char *const same_site[] = {
        [COOKIE_SAME_SITE_LAX] = "; SameSite=Lax",
        [COOKIE_SAME_SITE_STRICT] = "; SameSite=Strict",
        [COOKIE_SAME_SITE_NONE] = "; SameSite=None",
    };

    if (!http_text_is_token(c->name) || !is_value(c->value) ||
        !is_attribute(c->path) || !is_attribute(c->domain))
        return SD_EINVALID;
    buf_append(out, c->name.p, c->name.len);
    append(out, "=", c->value);
    append(out, "; Path=", c->path.len > 0 ? c->path : slice_str("/"));
    if (c->domain.len > 0)
        append(out, "; Domain=", c->domain);
    if (c->has_max_age)
        buf_printf(out, "; Max-Age=%lld", (long long)c->max_age);
    if (c->same_site != COOKIE_SAME_SITE_UNSET)
        buf_append_str(out, same_site[c->same_site]);
    if (c->http_only)
        buf_append_str(out, "; HttpOnly");
    if (c->secure)
        buf_append_str(out, "; Secure");
    return 0;
}
