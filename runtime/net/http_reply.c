/* http_reply.c - the answers of http.h.
 *
 * They are written straight into the conn's out.  A reply in place gets a head
 * with three digits of Content-Length, the common case; when the body turns
 * out shorter or longer by a digit it is moved by that one byte. */
#include <string.h>

#include "codec/handshake.h"
#include "codec/http_response.h"
#include "codec/json.h"
#include "net/inner.h"

static const struct slice nothing = {"", 0};
static const struct slice json_type = {"application/json", 16};

/* The Origin to allow, when the port serves scripts of other sites. */
static bool cors_origin(struct slice *out, struct http_request *r)
{
    const struct conf_list *origins = &r->conn->port->conf->origins;
    struct slice origin;
    unsigned i;

    if (!r->conn->port->has_cors || !http_header(&origin, r, "origin"))
        return false;
    for (i = 0; i < origins->n; i++) {
        bool any = strcmp(origins->at[i], "*") == 0;

        if (any || handshake_is_origin(origin, slice_str(origins->at[i]))) {
            *out = any ? slice_str("*") : origin;
            return true;
        }
    }
    return false;
}

void http_put_head(struct http_request *r, int status, int64_t length,
                   struct slice type, struct slice lines)
{
    struct conn *c = r->conn;
    struct buf *scratch = &c->net->scratch;
    struct slice origin;
    struct http_response h = {
        .status = status,
        .minor = r->head.minor,
        .length = length,
        .date = net_date(c->net),
        .type = type,
        .headers = lines,
    };

    if (c->net->is_draining || length == HTTP_BODY_CLOSE)
        r->keep_alive = false;
    h.keep_alive = r->keep_alive;
    if (cors_origin(&origin, r)) {
        buf_consume(scratch, scratch->len);
        buf_append(scratch, lines.p, lines.len);
        buf_append_str(scratch, "Access-Control-Allow-Origin: ");
        buf_append(scratch, origin.p, origin.len);
        buf_append_str(scratch, "\r\nVary: Origin\r\n");
        h.headers = buf_slice(scratch);
    }
    http_response_head(conn_out(c), &h);
}

void http_end(struct http_request *r)
{
    struct conn *c = r->conn;
    struct net *n = c->net;

    sd_check(r, REQUEST_MAGIC);
    sd_assert(c->request == r);
    c->request = NULL;
    if (conn_is_alive(c)) {
        c->packets_out++;
        conn_queue(c);
        c->last_in = conn_now(c);
        if (!r->keep_alive)
            conn_end(c, n->is_draining ? n->stop_reason : REASON_CLIENT, 0);
        else if (!c->is_working)
            net_ready(c);
    }
    request_give(r);
    conn_unref(c);
}

void http_respond(struct http_request *r, int status, struct slice type,
                  struct slice lines, struct slice body)
{
    struct conn *c = r->conn;

    sd_check(r, REQUEST_MAGIC);
    if (conn_is_alive(c)) {
        http_put_head(r, status, (int64_t)body.len, type, lines);
        if (!r->is_head && !http_response_is_bodiless(status))
            buf_append(conn_out(c), body.p, body.len);
    }
    http_end(r);
}

static void put_error(struct buf *out, int code, struct slice message)
{
    buf_printf(out, "{\"error\":{\"code\":%d,\"message\":", code);
    if (json_write_string(out, message) < 0)
        buf_append_str(out, "\"error\"");
    buf_append_str(out, "}}");
}

void http_fail(struct http_request *r, int code, struct slice message)
{
    int status = code >= 400 && code <= 599 ? code : 400;

    put_error(http_reply_begin(r, status, json_type.p, nothing), code, message);
    http_reply_commit(r);
}

void http_refuse(struct conn *c, int status)
{
    struct http_request *r = c->request;
    struct buf body = {0};

    if (status == 0)
        status = 400;
    put_error(&body, status, http_response_reason(status));
    r->keep_alive = false;
    r->head.count = 0; /* half read: no header of it is believed */
    http_put_head(r, status, (int64_t)body.len, json_type, nothing);
    buf_append(conn_out(c), body.p + body.head, body.len);
    buf_fini(&body);
    conn_end(c,
             status == 413 || status == 414 || status == 431 ? REASON_TOO_LARGE
             : status == 408                                 ? REASON_IDLE
                                                             : REASON_FRAME,
             0);
}

/* --- in place ------------------------------------------------------------- */

static const char length_name[] = "Content-Length: ";

struct buf *http_reply_begin(struct http_request *r, int status,
                             const char *type, struct slice lines)
{
    struct conn *c = r->conn;
    struct buf *out;
    const char *head, *at;

    sd_check(r, REQUEST_MAGIC);
    sd_assert(!r->is_written);
    r->is_written = true;
    r->status = status;
    if (!conn_is_alive(c)) {
        buf_consume(&c->net->scratch, c->net->scratch.len);
        return &c->net->scratch;
    }
    out = conn_out(c);
    r->reply = out->len;
    http_put_head(r, status, 100, slice_str(type), lines);
    r->text = out->len;
    head = out->p + out->head + r->reply;
    at = memmem(head, r->text - r->reply, length_name, sizeof(length_name) - 1);
    r->digits = 0;
    if (at != NULL)
        r->digits = r->reply + (size_t)(at - head) + sizeof(length_name) - 1;
    return out;
}

/* Put the true length where three digits are. */
static void fix_length(struct http_request *r, struct buf *out, size_t len)
{
    char digits[24];
    size_t n = 0;
    char *at;

    do {
        digits[sizeof(digits) - ++n] = (char)('0' + len % 10);
        len /= 10;
    } while (len > 0);
    if (n > 3)
        buf_reserve(out, n - 3);
    at = out->p + out->head + r->digits;
    if (n != 3)
        memmove(at + n, at + 3, out->len - r->digits - 3);
    memcpy(at, digits + sizeof(digits) - n, n);
    if (n > 3)
        buf_commit(out, n - 3);
    else
        buf_truncate(out, out->len + n - 3);
    r->text = r->text + n - 3;
}

void http_reply_commit(struct http_request *r)
{
    struct conn *c = r->conn;

    sd_check(r, REQUEST_MAGIC);
    sd_assert(r->is_written);
    if (conn_is_alive(c)) {
        struct buf *out = &c->out;

        if (r->digits > 0)
            fix_length(r, out, out->len - r->text);
        if (r->is_head || http_response_is_bodiless(r->status))
            buf_truncate(out, r->text);
    }
    http_end(r);
}

void http_reply_abort(struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    sd_assert(r->is_written);
    r->is_written = false;
    if (conn_is_alive(r->conn))
        buf_truncate(&r->conn->out, r->reply);
}

/* --- piece by piece ------------------------------------------------------- */

void http_stream_begin(struct http_request *r, int status, struct slice type,
                       struct slice lines)
{
    sd_check(r, REQUEST_MAGIC);
    r->state = REQUEST_STREAM;
    r->status = status;
    if (!conn_is_alive(r->conn))
        return;
    http_put_head(r, status,
                  r->head.minor == 0 ? HTTP_BODY_CLOSE : HTTP_BODY_CHUNKED,
                  type, lines);
    conn_queue(r->conn);
}

bool http_stream_is_slow(const struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    return conn_is_alive(r->conn) && conn_is_above_low(r->conn);
}

int http_stream_write(struct http_request *r, struct slice data)
{
    struct conn *c = r->conn;
    uint64_t high = c->port->conf->slow_high;

    sd_check(r, REQUEST_MAGIC);
    sd_assert(r->state == REQUEST_STREAM);
    if (conn_is_alive(c) && high > 0 && conn_queued(c) > high) {
        conn_flush(c);
        if (conn_is_alive(c) && conn_queued(c) > high)
            conn_cut(c, REASON_SLOW);
    }
    if (!conn_is_alive(c))
        return SD_EGONE;
    if (r->is_head || http_response_is_bodiless(r->status))
        return 0;
    if (r->head.minor == 0)
        buf_append(conn_out(c), data.p, data.len);
    else
        http_response_chunk(conn_out(c), data);
    conn_queue(c);
    return http_stream_is_slow(r) ? SD_ESLOW : 0;
}

void http_stream_end(struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    sd_assert(r->state == REQUEST_STREAM);
    if (conn_is_alive(r->conn) && r->head.minor > 0 && !r->is_head &&
        !http_response_is_bodiless(r->status))
        http_response_chunk_end(conn_out(r->conn));
    http_end(r);
}

void http_stream_abort(struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    sd_assert(r->state == REQUEST_STREAM);
    r->keep_alive = false;
    http_end(r);
}
