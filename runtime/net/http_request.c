/* http_request.c - the request object: see http.h.
 *
 * Requests come from a small pool of the worker: a conn has one only from the
 * first byte of a request to the end of its answer.  Head and body lie in the
 * read buffer as long as the handler answers at once; one that waits gets a
 * copy, because the buffer is everybody's. */
#include "net/inner.h"

enum {
    KEPT_REQUESTS = 64,
    KEPT_BYTES = 16384, /* of one request's buffers */
    HEAD_MAX = 1048576, /* what max_head = 0 means */
};

struct http_request *request_take(struct conn *c)
{
    const struct conf_port *conf = c->port->conf;
    struct net *n = c->net;
    uint32_t max_head = HEAD_MAX, max_headers = conf->max_headers;
    struct http_request *r;

    if (n->nrequests > 0) {
        r = list_entry(n->requests.next, struct http_request, node);
        list_del(&r->node);
        n->nrequests--;
    } else {
        r = mem_zalloc(sizeof(*r) + n->max_headers * sizeof(r->headers[0]));
        r->magic = REQUEST_MAGIC;
        r->room = n->max_headers;
        list_init(&r->node);
    }
    if (conf->max_head > 0 && conf->max_head < HEAD_MAX)
        max_head = (uint32_t)conf->max_head;
    if (max_headers == 0)
        max_headers = n->max_headers;
    http1_init(&r->head, r->headers, max_headers, max_head);
    r->state = REQUEST_HEAD;
    r->is_head = r->is_handshake = r->is_written = false;
    r->keep_alive = false;
    r->conn = c;
    r->user = NULL;
    r->file = -1;
    r->path = r->body = slice_make("", 0);
    c->request = r;
    return r;
}

static void request_free(struct http_request *r)
{
    buf_fini(&r->own);
    buf_fini(&r->chunks);
    buf_fini(&r->decoded);
    r->magic = 0;
    mem_free(r);
}

static void rest(struct buf *b)
{
    if (b->cap > KEPT_BYTES)
        buf_fini(b);
    else
        buf_consume(b, b->len);
}

void request_give(struct http_request *r)
{
    struct net *n = r->conn->net;

    sd_check(r, REQUEST_MAGIC);
    if (n->nrequests == KEPT_REQUESTS || r->room < n->max_headers) {
        request_free(r);
        return;
    }
    rest(&r->own);
    rest(&r->chunks);
    rest(&r->decoded);
    list_add(n->requests.next, &r->node); /* the warmest comes first */
    n->nrequests++;
}

void requests_free(struct net *n)
{
    while (!list_empty(&n->requests)) {
        struct http_request *r =
            list_entry(n->requests.next, struct http_request, node);

        list_del(&r->node);
        request_free(r);
    }
    n->nrequests = 0;
}

static void move(struct slice *s, const char *from, size_t len, const char *to)
{
    if (s->p >= from && s->p < from + len)
        s->p = to + (s->p - from);
}

void request_own(struct http_request *r)
{
    const char *from = r->head.base;
    size_t len = r->head.size;

    if (from == r->own.p)
        return;
    if (r->body.p == from + len)
        len += r->body.len;
    buf_append(&r->own, from, len);
    r->head.base = r->own.p;
    move(&r->path, from, len, r->own.p);
    move(&r->body, from, len, r->own.p);
}

/* --- what was asked ------------------------------------------------------- */

struct slice http_method(const struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    if (r->is_head)
        return slice_str("GET");
    return http1_slice(&r->head, r->head.method_name);
}

struct slice http_path(const struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    return r->path;
}

struct slice http_query(const struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    return http1_slice(&r->head, r->head.query);
}

struct slice http_body(const struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    return r->body;
}

const char *http_protocol(const struct http_request *r)
{
    return r->head.minor == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

bool http_is_head(const struct http_request *r)
{
    return r->is_head;
}

unsigned http_header_count(const struct http_request *r)
{
    return r->head.count;
}

void http_header_at(const struct http_request *r, unsigned i,
                    struct slice *name, struct slice *value)
{
    sd_assert(i < r->head.count);
    *name = http1_slice(&r->head, r->headers[i].name);
    *value = http1_slice(&r->head, r->headers[i].value);
}

bool http_header(struct slice *value, const struct http_request *r,
                 const char *name)
{
    sd_check(r, REQUEST_MAGIC);
    return http1_find(value, &r->head, name);
}

struct conn *http_conn(const struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    return r->conn;
}

bool http_is_gone(const struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    return !conn_is_alive(r->conn);
}

void *http_user(const struct http_request *r)
{
    sd_check(r, REQUEST_MAGIC);
    return r->user;
}

void http_set_user(struct http_request *r, void *user)
{
    sd_check(r, REQUEST_MAGIC);
    r->user = user;
}
