/* conn_write.c - what goes to the peer: see conn.h.
 *
 * Packets are built in c->out, behind what already waits there.  At the end of
 * the turn one uv_try_write() takes it all, and the buffer goes back to the
 * worker's pool.  What the socket does not take moves into a uv_write() of
 * its own, and c->out gathers again. */
#include "net/inner.h"

#include "codec/utf8.h"

uint64_t conn_queued(const struct conn *c)
{
    uint64_t n = c->out.len;

    if (c->write != NULL)
        n += uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
    return n;
}

struct buf *conn_out(struct conn *c)
{
    if (c->out.p == NULL)
        net_take_buf(c->net, &c->out);
    return &c->out;
}

void conn_queue(struct conn *c)
{
    if (c->is_dirty || c->state == CONN_CLOSED)
        return;
    c->is_dirty = true;
    list_add(&c->net->dirty, &c->dirty);
}

void conn_drop_output(struct conn *c)
{
    net_give_buf(c->net, &c->out);
    list_del(&c->dirty);
    c->is_dirty = false;
}

static int reason_of_error(int err)
{
    return err == UV_ECONNRESET || err == UV_EPIPE ? REASON_CLIENT
                                                   : REASON_ERROR;
}

static void on_written(uv_write_t *req, int status)
{
    struct conn_write *w = list_entry(req, struct conn_write, req);
    struct conn *c = w->conn;

    sd_check(c, CONN_MAGIC);
    c->net->counters.bytes_out += w->data.len;
    net_give_buf(c->net, &w->data);
    mem_free(w);
    c->write = NULL;
    c->slow_at = 0;
    if (status < 0)
        conn_cut(c, reason_of_error(status));
    else
        conn_flush(c);
}

/* Let libuv write what the socket did not take. */
static void write_rest(struct conn *c)
{
    struct conn_write *w = mem_zalloc(sizeof(*w));
    uv_buf_t b;
    int err;

    w->conn = c;
    w->data = c->out;
    c->out = (struct buf){0};
    c->write = w;
    b = uv_buf_init(w->data.p + w->data.head, (unsigned)w->data.len);
    err = uv_write(&w->req, (uv_stream_t *)&c->tcp, &b, 1, on_written);
    if (err < 0) {
        c->write = NULL;
        buf_fini(&w->data);
        mem_free(w);
        conn_cut(c, reason_of_error(err));
        return;
    }
    c->slow_at = conn_now(c);
    c->slow_left = conn_unacked(c);
    conn_arm(c);
}

/* Write c->out as far as the socket takes it; false: the conn was cut. */
static bool write_now(struct conn *c)
{
    uv_buf_t b = uv_buf_init(c->out.p + c->out.head, (unsigned)c->out.len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);

    c->net->counters.writes++;
    if (n < 0 && n != UV_EAGAIN) {
        conn_cut(c, reason_of_error(n));
        return false;
    }
    if (n > 0) {
        c->net->counters.bytes_out += (unsigned)n;
        buf_consume(&c->out, (size_t)n);
    }
    if (c->out.len > 0)
        write_rest(c);
    else
        net_give_buf(c->net, &c->out);
    return c->state != CONN_CLOSED;
}

void conn_flush(struct conn *c)
{
    if (c->state == CONN_CLOSED || c->write != NULL)
        return;
    if (c->out.len > 0 && !write_now(c))
        return;
    if (c->state == CONN_CLOSING && c->out.len == 0 && c->write == NULL)
        conn_shut(c);
    else if ((!c->is_reading || c->request != NULL) && conn_is_alive(c))
        net_ready(c);
}

/* --- packets ---------------------------------------------------------------- */

int conn_send_begin(struct buf **out, struct conn *c)
{
    uint64_t high = c->port->conf->slow_high;

    sd_check(c, CONN_MAGIC);
    if (!conn_is_alive(c))
        return SD_EGONE;
    if (c->proto->begin == NULL)
        return SD_EREFUSED;
    if (high > 0 && conn_queued(c) > high) {
        conn_flush(c);
        if (!conn_is_alive(c))
            return SD_EGONE;
        if (conn_queued(c) > high) {
            /* The policies drop_new and drop_old will be decided here. */
            conn_cut(c, REASON_SLOW);
            return SD_ESLOW;
        }
    }
    c->send_start = (uint32_t)c->proto->begin(conn_out(c), c);
    *out = &c->out;
    return 0;
}

int conn_send_commit(struct conn *c)
{
    int err = c->proto->seal(&c->out, c, c->send_start);

    if (err < 0) {
        conn_send_abort(c);
        return err;
    }
    c->net->counters.packets_out++;
    conn_queue(c);
    return 0;
}

void conn_send_abort(struct conn *c)
{
    if (c->out.len > c->send_start)
        buf_truncate(&c->out, c->send_start);
    if (c->out.len == 0)
        net_give_buf(c->net, &c->out);
}

int conn_send(struct conn *c, struct slice body)
{
    struct buf *out;
    int err = conn_send_begin(&out, c);

    if (err < 0)
        return err;
    buf_append(out, body.p, body.len);
    return conn_send_commit(c);
}
