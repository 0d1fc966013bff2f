/* http.c - the protocol of HTTP ports: bytes to requests, one at a time.
 *
 * A request is worked on where it lies: codec/http1 parses the head in place,
 * a body with a length is waited for behind it, and both are handed up as
 * slices.  Only a chunked body is put together elsewhere.  While a request is
 * in the upper layer's hands the next ones wait as bytes: so replies leave in
 * order, and those of one read leave in one write. */
#include "net/http.h"

#include <string.h>

#include "codec/http_response.h"
#include "codec/url.h"
#include "net/inner.h"

/* What one step did with the input. */
enum step {
    STEP_WAIT, /* more bytes are needed */
    STEP_ON,   /* *used bytes are done with */
};

static bool is_in_hand(const struct conn *c)
{
    return c->request != NULL && c->request->state >= REQUEST_IN_HAND;
}

static void wait_for(struct conn *c, uint64_t timeout)
{
    c->due = timeout > 0 ? conn_now(c) + timeout : 0;
    conn_arm(c);
}

static bool is_called(const struct conf_port *conf, struct slice method)
{
    unsigned i;

    for (i = 0; i < conf->http_methods.n; i++) {
        if (slice_is(method, conf->http_methods.at[i]))
            return true;
    }
    return false;
}

static void put_allowed(struct buf *out, const struct conf_port *conf)
{
    unsigned i;

    for (i = 0; i < conf->http_methods.n; i++) {
        buf_append_str(out, conf->http_methods.at[i]);
        buf_append_str(out, ", ");
    }
    if (is_called(conf, slice_str("GET")) || conf->public_dir != NULL)
        buf_append_str(out, "HEAD, ");
    buf_append_str(out, "OPTIONS");
}

static void answer_options(struct http_request *r)
{
    const struct conf_port *conf = r->conn->port->conf;
    struct buf lines = {0};
    struct slice asked;

    buf_append_str(&lines, "Allow: ");
    put_allowed(&lines, conf);
    buf_append_str(&lines, "\r\n");
    if (r->conn->port->has_cors && http_header(&asked, r, "origin")) {
        buf_append_str(&lines, "Access-Control-Allow-Methods: ");
        put_allowed(&lines, conf);
        buf_append_str(&lines, "\r\nAccess-Control-Max-Age: 600\r\n");
        if (http_header(&asked, r, "access-control-request-headers"))
            (void)http_response_header(
                &lines, slice_str("Access-Control-Allow-Headers"), asked);
    }
    http_respond(r, 204, slice_make("", 0), buf_slice(&lines),
                 slice_make("", 0));
    buf_fini(&lines);
}

static void refuse_method(struct http_request *r)
{
    struct buf lines = {0};

    buf_append_str(&lines, "Allow: ");
    put_allowed(&lines, r->conn->port->conf);
    buf_append_str(&lines, "\r\n");
    http_respond(r, 405, slice_str("application/json"), buf_slice(&lines),
                 slice_str("{\"error\":{\"code\":405,\"message\":\"method not "
                           "allowed\"}}"));
    buf_fini(&lines);
}

/* The decoded path; false: it cannot be one. */
static bool decode_path(struct http_request *r)
{
    struct slice raw = http1_slice(&r->head, r->head.path);

    r->path = raw;
    if (memchr(raw.p, '%', raw.len) == NULL)
        return true;
    if (url_decode(&r->decoded, raw, false) < 0)
        return false;
    r->path = buf_slice(&r->decoded);
    return memchr(r->path.p, '\0', r->path.len) == NULL;
}

static void hand_up(struct conn *c, struct http_request *r)
{
    const struct conf_port *conf = c->port->conf;
    struct net *n = c->net;

    if (!decode_path(r))
        http_fail(r, 400, slice_str("bad path"));
    else if (conf->websocket.enabled && slice_is(r->path, conf->websocket.path))
        ws_handshake(c, r);
    else if (r->head.method == HTTP1_OPTIONS)
        answer_options(r);
    else if (is_called(conf, http_method(r)))
        n->ops->on_request(n->arg, c, r);
    else if (!http_static(r))
        refuse_method(r);
}

/* The request is whole. */
static void dispatch(struct conn *c, struct http_request *r)
{
    c->due = 0;
    c->need = 0;
    c->net->counters.requests++;
    c->packets_in++;
    r->state = REQUEST_IN_HAND;
    r->is_head = r->head.method == HTTP1_HEAD;
    r->keep_alive = r->head.keep_alive;
    conn_ref(c);
    if (conn_is_over_rate(c)) {
        http_fail(r, 429, slice_str("too many requests"));
        return;
    }
    if (conn_has_rate(c))
        conn_pay(c, 1, r->head.size + r->body.len);
    hand_up(c, r);
    if (c->request == r)
        request_own(r);
}

static void say_continue(struct conn *c, struct http_request *r)
{
    if (!r->head.expect_continue || r->head.minor == 0)
        return;
    http_response_continue(conn_out(c));
    conn_queue(c);
}

static bool is_too_large(const struct conn *c, uint64_t size)
{
    uint64_t max = c->port->conf->max_body;

    return max > 0 && size > max;
}

static enum step begin_body(struct conn *c, struct http_request *r, size_t len,
                            size_t *used)
{
    uint64_t body =
        r->head.content_length > 0 ? (uint64_t)r->head.content_length : 0;

    if (is_too_large(c, body)) {
        http_refuse(c, 413);
        return STEP_WAIT;
    }
    if (r->head.chunked) {
        request_own(r);
        r->state = REQUEST_CHUNKS;
        chunked_init(&r->chunked);
        *used = r->head.size;
        say_continue(c, r);
        wait_for(c, c->port->conf->body_timeout);
        return STEP_ON;
    }
    if (len - r->head.size < body) {
        r->state = REQUEST_BODY;
        c->need = r->head.size + body;
        if (len == r->head.size)
            say_continue(c, r);
        wait_for(c, c->port->conf->body_timeout);
        return STEP_WAIT;
    }
    r->body = slice_make(r->head.base + r->head.size, body);
    *used = r->head.size + body;
    dispatch(c, r);
    return STEP_ON;
}

static enum step read_head(struct conn *c, struct http_request *r, char *p,
                           size_t len, size_t *used)
{
    int got = http1_parse(&r->head, p, len);

    if (got == 0)
        return begin_body(c, r, len, used);
    if (got != SD_EAGAIN)
        http_refuse(c, r->head.status);
    else if (c->due == 0)
        wait_for(c, c->port->conf->head_timeout);
    return STEP_WAIT;
}

static enum step read_body(struct conn *c, struct http_request *r, char *p,
                           size_t len, size_t *used)
{
    if (len < c->need)
        return STEP_WAIT;
    r->head.base = p;
    r->body = slice_make(p + r->head.size, c->need - r->head.size);
    *used = c->need;
    dispatch(c, r);
    return STEP_ON;
}

static enum step read_chunks(struct conn *c, struct http_request *r, char *p,
                             size_t len, size_t *used)
{
    struct slice in = slice_make(p, len), piece;
    int got = 1;

    while (got == 1) {
        got = chunked_next(&piece, &r->chunked, &in);
        if (got == SD_ETOOLARGE || is_too_large(c, r->chunked.total)) {
            http_refuse(c, 413);
            return STEP_WAIT;
        }
        if (got == 1)
            buf_append(&r->chunks, piece.p, piece.len);
    }
    if (got < 0 && got != SD_EAGAIN) {
        http_refuse(c, 400);
        return STEP_WAIT;
    }
    *used = len - in.len;
    if (got == 0) {
        r->body = buf_slice(&r->chunks);
        dispatch(c, r);
    }
    return STEP_ON;
}

static enum step take_step(struct conn *c, struct http_request *r, char *p,
                           size_t len, size_t *used)
{
    *used = 0;
    if (r->state == REQUEST_BODY)
        return read_body(c, r, p, len, used);
    if (r->state == REQUEST_CHUNKS)
        return read_chunks(c, r, p, len, used);
    return read_head(c, r, p, len, used);
}

static size_t http_on_input(struct conn *c, char *p, size_t len)
{
    size_t done = 0, used;

    while (done < len && c->proto == &proto_http && conn_may_work(c) &&
           !is_in_hand(c)) {
        struct http_request *r = c->request;

        if (r == NULL)
            r = request_take(c);
        if (take_step(c, r, p + done, len - done, &used) == STEP_WAIT)
            break;
        done += used;
    }
    return done;
}

/* While a request is in hand only its client's going away is of interest. */
static bool http_may_read(const struct conn *c)
{
    return is_in_hand(c) ? c->in.len < READ_SIZE : conn_may_work(c);
}

/* Half a request will never be whole. */
static bool http_is_done(const struct conn *c)
{
    return !is_in_hand(c);
}

static void http_on_due(struct conn *c)
{
    if (is_in_hand(c))
        return;
    if (c->request != NULL)
        http_refuse(c, 408);
    else
        conn_end(c, REASON_IDLE, 0);
}

static void http_on_idle(struct conn *c)
{
    if (c->request == NULL)
        conn_end(c, REASON_IDLE, 0);
    else
        c->last_in = conn_now(c); /* its own deadlines apply */
}

static void http_on_work(struct conn *c)
{
    if (c->request != NULL && c->request->state == REQUEST_FILE)
        http_file_pump(c->request);
}

void http_on_gone(struct conn *c)
{
    struct http_request *r = c->request;

    if (r->state == REQUEST_FILE) {
        http_file_end(r);
    } else if (r->state < REQUEST_IN_HAND) {
        c->request = NULL;
        request_give(r);
    }
}

const struct proto proto_http = {
    .name = CONN_HTTP,
    .on_input = http_on_input,
    .on_work = http_on_work,
    .may_read = http_may_read,
    .is_done = http_is_done,
    .on_due = http_on_due,
    .on_idle = http_on_idle,
};
