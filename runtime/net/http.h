/* http.h - an HTTP request in hand, and the ways to answer it.
 *
 * on_request() and on_handshake() give a struct http_request.  It stays valid,
 * slices included, until it *ends*, by exactly one of the calls marked so;
 * that may be inside the callback or later.  The next request of the conn
 * comes after that, so replies leave in order.  When the client has gone
 * meanwhile everything below is harmless and still ends the request.
 *
 * HEAD comes up as GET (http_is_head()): whatever is answered, only the head
 * is sent.  OPTIONS, CORS headers, limits, deadlines, 100-continue, Date and
 * Connection are done below. */
#ifndef SD_NET_HTTP_H
#define SD_NET_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct conn;
struct http_request;

/* --- what was asked ------------------------------------------------------- */

struct slice http_method(const struct http_request *r); /* "GET", "POST" ... */
struct slice http_path(const struct http_request *r);   /* decoded */
struct slice http_query(const struct http_request *r);  /* raw, behind "?" */
struct slice http_body(const struct http_request *r);
const char *http_protocol(const struct http_request *r); /* "HTTP/1.1" */
bool http_is_head(const struct http_request *r);

/* Headers in order of arrival, names in lower case. */
unsigned http_header_count(const struct http_request *r);
void http_header_at(const struct http_request *r, unsigned i,
                    struct slice *name, struct slice *value);

/* The first header of that lower-case name; false: none, *value untouched. */
bool http_header(struct slice *value, const struct http_request *r,
                 const char *name);

/* The conn below; NULL never, but it may be closed: http_is_gone(). */
struct conn *http_conn(const struct http_request *r);
bool http_is_gone(const struct http_request *r);

/* A pointer of the upper layer, NULL at first. */
void *http_user(const struct http_request *r);
void http_set_user(struct http_request *r, void *user);

/* --- answers: one of these ends the request ------------------------------- */

/* `lines` are header lines of http_response_header() (codec/), Content-Type
 * among them or in `type`; both may be empty.  Ends. */
void http_respond(struct http_request *r, int status, struct slice type,
                  struct slice lines, struct slice body);

/* {"error":{"code":code,"message":message}} with that status (400 when `code`
 * is no status of an error).  Ends. */
void http_fail(struct http_request *r, int code, struct slice message);

/* The same in place: the body is appended to the returned buf, right behind
 * its head.  Nothing else may be called on conn or request in between.
 * commit ends; abort undoes, and the request still has to end. */
struct buf *http_reply_begin(struct http_request *r, int status,
                             const char *type, struct slice lines);
void http_reply_commit(struct http_request *r);
void http_reply_abort(struct http_request *r);

/* A body of unknown length: begin, any number of writes, end (which ends).
 * http_stream_write() gives SD_EGONE, or SD_ESLOW above slow_low: taken, but
 * wait until http_stream_is_slow() is false before the next. */
void http_stream_begin(struct http_request *r, int status, struct slice type,
                       struct slice lines);
int http_stream_write(struct http_request *r, struct slice data);
bool http_stream_is_slow(const struct http_request *r);
void http_stream_end(struct http_request *r);

/* The body will never be whole: the conn closes without its end, so that the
 * client can tell.  Ends. */
void http_stream_abort(struct http_request *r);

/* The file `path` below folder `root` (relative, no way out of it), with
 * type, ETag, Last-Modified and 304.  0: answered, ends.  SD_EOFFLINE: no such
 * file; SD_EINVALID: no path to serve; then the request goes on.  `type` may
 * be empty: by the name. */
int http_file(struct http_request *r, const char *root, struct slice path,
              struct slice type, struct slice lines);

/* What the port's `public` folder has for the request's path ("/":
 * index.html); GET and HEAD only.  True: answered, ends. */
bool http_static(struct http_request *r);

/* Of on_handshake() only: open the WebSocket, then on_open() comes.  `lines`
 * are extra header lines.  Ends.  SD_EGONE: the client has gone meanwhile, or
 * net_close_conns() was called; no on_open() comes. */
int conn_ws_accept(struct http_request *r, struct slice lines);

#endif
