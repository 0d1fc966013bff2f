/* http1.h - the head of an HTTP/1.1 request: a strict incremental parser.
 *
 * Feed the same contiguous buffer, longer each time, until the answer is not
 * SD_EAGAIN.  The state is plain data with offsets from the buffer's start, so
 * between two calls the bytes may move and the state may be copied (with its
 * headers array).  Nothing is ever looked at twice: a head that comes byte by
 * byte costs what it costs in one piece, and gets the same verdict.
 *
 * Refused with h->status, to be answered before closing the connection:
 *   400 everything malformed or ambiguous   413 Content-Length over 2^53
 *   414 the request line alone fills max_head
 *   417 an Expect other than 100-continue   431 head or headers over a limit
 *   501 CONNECT, a method over 32 bytes, transfer codings before chunked
 *   505 a version other than 1.0 and 1.1
 * Whether a method may be called is the caller's to judge: 405 for one it
 * knows (h->method), 501 for HTTP1_OTHER. */
#ifndef SD_CODEC_HTTP1_H
#define SD_CODEC_HTTP1_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum http1_method {
    HTTP1_OTHER, /* any other token: compare h->method_name yourself */
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
    HTTP1_PATCH,
    HTTP1_TRACE,
};

struct http1_span {
    uint32_t off; /* from the start of the buffer */
    uint32_t len;
};

struct http1_header {
    struct http1_span name;  /* lower case: lowered in the buffer itself */
    struct http1_span value; /* without white space around; may be empty */
};

struct http1_head {
    /* Set by http1_init(). */
    struct http1_header *headers; /* the caller's array */
    uint32_t max_headers;
    uint32_t max_head;

    /* The answer, complete when http1_parse() returned 0. */
    char *base;    /* where the spans count from: set by each call */
    uint32_t size; /* of the whole head: the body begins at base + size */
    uint32_t count;
    struct http1_span method_name;
    struct http1_span target; /* as sent */
    struct http1_span path;   /* still encoded: "/..." or, for OPTIONS, "*" */
    struct http1_span query;  /* behind the "?", still encoded; may be empty */
    struct http1_span host;   /* of an absolute target, else of the header */
    int64_t content_length;   /* -1: none */
    enum http1_method method;
    int minor;  /* 1.x: 0 or 1 */
    int status; /* why it was refused, else 0 */
    bool chunked;
    bool keep_alive; /* by version and Connection */
    bool expect_continue;
    bool upgrade;   /* 1.1, Connection has "upgrade" and Upgrade is there */
    bool websocket; /* upgrade, and one of its protocols is "websocket" */

    /* Private: where the next call goes on, and what was seen. */
    uint32_t line;
    uint32_t scanned;
    uint32_t seen;
};

/* Begin a request.  Keeps `headers` (room for max_headers) until the answer
 * is done with.  max_head < 2^31. */
void http1_init(struct http1_head *h, struct http1_header *headers,
                uint32_t max_headers, uint32_t max_head);

/* Go on with `p`, `len` bytes from the first byte of the request; header names
 * in it are lowered in place.  0: complete; SD_EAGAIN: call again with more;
 * SD_EPROTO: refused, see h->status (and every later call answers the same).
 * Borrows p; the answer's spans count from it. */
int http1_parse(struct http1_head *h, char *p, size_t len);

/* Value of the first header `name` (lower case) into *out; false: none. */
bool http1_find(struct slice *out, const struct http1_head *h,
                const char *name);

/* Does `list`, "a, B ,c", have `token` (lower case)?  Any letter case. */
bool http1_has_token(struct slice list, const char *token);

static inline struct slice http1_slice(const struct http1_head *h,
                                       struct http1_span s)
{
    return slice_make(h->base + s.off, s.len);
}

#endif
