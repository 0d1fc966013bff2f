/* cookie.h - the Cookie header read, the Set-Cookie header written. */
#ifndef SD_CODEC_COOKIE_H
#define SD_CODEC_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum cookie_same_site {
    COOKIE_SAME_SITE_UNSET,
    COOKIE_SAME_SITE_LAX,
    COOKIE_SAME_SITE_STRICT,
    COOKIE_SAME_SITE_NONE, /* browsers demand `secure` with it */
};

struct cookie {
    struct slice name;   /* token */
    struct slice value;  /* cookie octets; percent-encode others yourself */
    struct slice path;   /* empty: "/" */
    struct slice domain; /* empty: none */
    bool has_max_age;
    int64_t max_age; /* seconds; 0 or less removes the cookie */
    bool http_only;
    bool secure;
    enum cookie_same_site same_site;
};

/* The next "name=value" of *rest, a Cookie header's value; *rest is advanced.
 * White space and one pair of quotes around the value are taken off; parts
 * without a name are skipped.  false: there is none left, outs untouched. */
bool cookie_next(struct slice *name, struct slice *value, struct slice *rest);

/* Append a Set-Cookie header's value (not the name, no CRLF).  SD_EINVALID:
 * name, value, path or domain has a byte it may not have; nothing appended. */
int cookie_write(struct buf *out, const struct cookie *c);

#endif
