/* floor_uv.c - the limit of libuv: what sdlua is measured against.
 *
 * One read buffer for all conns, the answers of one read in one
 * uv_try_write, memory of a conn only while a request is incomplete. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/answer.h"
#include "common/floor.h"
#include "common/util.h"

#define READ_MAX 65536

struct conn {
    uv_tcp_t tcp;
    enum answer_protocol protocol;
    struct bytes *tail;                /* an incomplete request; NULL mostly */
    struct conn *next_watcher, **link; /* W4; link is NULL: it does not */
};

struct rest { /* answers that the kernel did not take at once */
    uv_write_t req;
    struct bytes bytes;
};

static struct bytes out; /* answers of the read in hand */
static char in[2 * READ_MAX];
static struct conn *watchers;

static void must(int err, const char *what)
{
    if (err < 0)
        util_die("%s: %s", what, uv_strerror(err));
}

static void conn_drop_tail(struct conn *c)
{
    if (c->tail != NULL) {
        bytes_fini(c->tail);
        free(c->tail);
        c->tail = NULL;
    }
}

static void conn_watch(struct conn *c)
{
    c->link = &watchers;
    c->next_watcher = watchers;
    if (watchers != NULL)
        watchers->link = &c->next_watcher;
    watchers = c;
}

static void conn_unwatch(struct conn *c)
{
    if (c->link == NULL)
        return;
    *c->link = c->next_watcher;
    if (c->next_watcher != NULL)
        c->next_watcher->link = c->link;
    c->link = NULL;
}

static void on_close(uv_handle_t *handle)
{
    struct conn *c = handle->data;

    conn_drop_tail(c);
    free(c);
}

static void conn_close(struct conn *c)
{
    conn_unwatch(c);
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_close);
}

/* The tail of the last read is put in front of the next. */
static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct conn *c = handle->data;
    size_t len = c->tail != NULL ? c->tail->len : 0;

    (void)size;
    if (len > 0)
        memcpy(in, c->tail->p, len);
    *buf = uv_buf_init(in + len, READ_MAX);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf);

static void on_written(uv_write_t *req, int status)
{
    struct rest *rest = req->data;
    struct conn *c = req->handle->data;

    bytes_fini(&rest->bytes);
    free(rest);
    if (status < 0)
        conn_close(c);
    else
        uv_read_start(req->handle, on_alloc, on_read);
}

/* The conn is not read from until the rest has gone, so it cannot grow. */
static void write_later(struct conn *c, const char *p, size_t n)
{
    struct rest *rest = util_alloc(1, sizeof(*rest));
    uv_buf_t buf;

    rest->req.data = rest;
    bytes_add(&rest->bytes, p, n);
    buf = uv_buf_init(rest->bytes.p, (unsigned)n);
    uv_read_stop((uv_stream_t *)&c->tcp);
    must(uv_write(&rest->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written),
         "uv_write");
}

static int conn_write(struct conn *c, const struct bytes *b)
{
    uv_buf_t buf = uv_buf_init(b->p, (unsigned)b->len);
    int sent = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);

    if (sent < 0 && sent != UV_EAGAIN)
        return sent;
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent < b->len)
        write_later(c, b->p + sent, b->len - (size_t)sent);
    return 0;
}

/* W4: the same bytes to all who watch. */
static void fan_out(struct bytes *news)
{
    struct conn *c, *next;

    for (c = watchers; c != NULL; c = next) {
        next = c->next_watcher;
        if (conn_write(c, news) < 0)
            conn_close(c);
    }
    news->len = 0;
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct conn *c = stream->data;
    size_t len;
    long used;

    if (got == 0)
        return;
    if (got < 0) {
        conn_close(c);
        return;
    }
    len = (size_t)(buf->base - in) + (size_t)got;
    conn_drop_tail(c);
    out.len = 0;
    used = answer_feed(&c->protocol, &out, in, len);
    if (used < 0 || (out.len > 0 && conn_write(c, &out) < 0)) {
        conn_close(c);
        return;
    }
    if ((size_t)used < len) {
        c->tail = util_alloc(1, sizeof(*c->tail));
        bytes_add(c->tail, in + used, len - (size_t)used);
    }
    if (c->protocol == ANSWER_WATCHER && c->link == NULL)
        conn_watch(c);
    if (answer_news()->len > 0)
        fan_out(answer_news());
}

static void on_connection(uv_stream_t *server, int status)
{
    const enum answer_protocol *protocol = server->data;
    struct conn *c;

    if (status < 0)
        return;
    c = util_alloc(1, sizeof(*c));
    c->tcp.data = c;
    c->protocol = *protocol;
    must(uv_tcp_init(server->loop, &c->tcp), "uv_tcp_init");
    if (uv_accept(server, (uv_stream_t *)&c->tcp) < 0) {
        conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void serve(uv_tcp_t *server, int fd, enum answer_protocol *protocol)
{
    must(uv_tcp_init(uv_default_loop(), server), "uv_tcp_init");
    must(uv_tcp_open(server, fd), "uv_tcp_open");
    server->data = protocol;
    must(uv_listen((uv_stream_t *)server, 4096, on_connection), "uv_listen");
}

int main(int argc, char **argv)
{
    static enum answer_protocol tcp = ANSWER_TCP, http = ANSWER_HTTP;
    static uv_tcp_t tcp_server, http_server;
    struct floor_options options;

    floor_start(&options, argc, argv);
    serve(&tcp_server, options.tcp_fd, &tcp);
    serve(&http_server, options.http_fd, &http);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
