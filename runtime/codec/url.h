/* url.h - percent coding, query strings and forms, paths of static files. */
#ifndef SD_CODEC_URL_H
#define SD_CODEC_URL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    URL_MAX_PATH = 1024,   /* of a decoded path of url_path() */
    URL_MAX_SEGMENT = 255, /* of one name in it */
};

/* Append `in` decoded to `out`.  With `plus`, "+" is a space (queries and
 * forms).  SD_EINVALID: a "%" without two hex digits; nothing appended. */
int url_decode(struct buf *out, struct slice in, bool plus);

/* Append `in` encoded: all but letters, digits and -._~ as %XX. */
void url_encode(struct buf *out, struct slice in);

/* The next "name=value" of *rest (separated by "&"), still encoded; *rest is
 * advanced.  A pair without "=" has an empty value; empty pairs are skipped.
 * false: there is none left, name and value untouched. */
bool url_next_pair(struct slice *name, struct slice *value, struct slice *rest);

/* Append the path of a request as a relative file path: decoded once, without
 * the slash in front.  "/" gives "", "/a/" gives "a/": the caller adds its
 * index file.  SD_EINVALID, nothing appended, for what no honest client sends
 * or what must not be served: no slash in front, empty or dot segments ("//",
 * "/./", "/../"), names that begin with a dot (but "/.well-known/..."),
 * encoded slashes, backslashes, control characters and NUL in any coding, bad
 * percent coding, a name or path over the limits. */
int url_path(struct buf *out, struct slice path);

#endif
