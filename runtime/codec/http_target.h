/* http_target.h - the target of a request taken apart, and what a host is. */
#ifndef SD_CODEC_HTTP_TARGET_H
#define SD_CODEC_HTTP_TARGET_H

#include <stdbool.h>

#include "base/slice.h"

struct http_target {
    struct slice host;  /* with its port; empty unless absolute */
    struct slice path;  /* begins with a slash; still encoded */
    struct slice query; /* behind the "?", still encoded; may be empty */
};

/* Take "/path?query" or "http://host/path?query" (or https) apart; the slices
 * borrow from `text`.  SD_EINVALID: another form or scheme, a bad host, user
 * information, a fragment, or a byte that is not visible ASCII. */
int http_target_parse(struct http_target *out, struct slice text);

/* A name, an IPv4 or a bracketed IPv6 address, perhaps with ":port".
 * Narrower than the RFC's, which allows what no resolver does ("a,b"). */
bool http_target_is_host(struct slice s);

#endif
