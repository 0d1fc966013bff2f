/* http_response.h - writes response heads into a buf.
 *
 * Framing (Content-Length, Transfer-Encoding, Connection, Date) is ours alone:
 * headers from scripts pass http_response_header(), which refuses those and
 * every byte that could end a line. */
#ifndef SD_CODEC_HTTP_RESPONSE_H
#define SD_CODEC_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    HTTP_BODY_CHUNKED = -1, /* Transfer-Encoding: chunked; for 1.1 only */
    HTTP_BODY_CLOSE = -2,   /* the body ends with the connection */
};

struct http_response {
    int status;           /* 100..599 */
    int minor;            /* of the request's version: 0 or 1 */
    bool keep_alive;      /* false writes "Connection: close" */
    int64_t length;       /* of the body, or HTTP_BODY_x */
    const char *date;     /* 29 bytes as of http_date_write(), or NULL */
    struct slice type;    /* Content-Type, trusted, or empty */
    struct slice headers; /* whole lines: of http_response_header(), or ours */
};

/* "OK", "Not Found" ...; "Unknown" for a code without a name.  Static. */
struct slice http_response_reason(int status);

/* 1xx, 204 and 304 never have a body. */
static inline bool http_response_is_bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

/* Append the whole head with its empty line.  A bodiless status gets no
 * Content-Length.  With HTTP_BODY_CLOSE keep_alive must be false. */
void http_response_head(struct buf *out, const struct http_response *r);

/* Head and body in one go, the common small answer: r->length is ignored. */
void http_response_write(struct buf *out, const struct http_response *r,
                         struct slice body);

/* Append "name: value\r\n" to the lines for r->headers.  SD_EINVALID: name is
 * no token or value has a control character (tab is fine); SD_EREFUSED: a
 * header that is ours to write.  Nothing is appended then. */
int http_response_header(struct buf *lines, struct slice name,
                         struct slice value);

/* One chunk: size line, data, CRLF.  Nothing for empty data. */
void http_response_chunk(struct buf *out, struct slice data);

/* The end of a chunked body. */
void http_response_chunk_end(struct buf *out);

/* "HTTP/1.1 100 Continue" and an empty line. */
void http_response_continue(struct buf *out);

#endif
