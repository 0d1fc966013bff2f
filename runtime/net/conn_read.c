/* conn_read.c - how bytes of a conn become packets in order.
 *
 * All conns of a worker read into one buffer.  What a protocol leaves over is
 * kept in c->in and, while it is small, copied in front of the next read, so
 * that the protocol always sees one run of bytes and a conn without a half
 * packet owns no buffer.  A large packet is read on in c->in itself.
 *
 * Packets above max_inflight wait in c->queue as length and bytes; when the
 * backlog is full, more is queued to be written than slow_low, or the port's
 * rate is passed (conn_rate.c), working on input stops, and with it reading,
 * until the end of a turn finds room.  While the conn is asked something its
 * packets are read on behind a full backlog, up to QUEUE_BYTES: the answer may
 * be among them.
 *
 * A peer that has sent its last byte may still read: the conn closes when its
 * packets are answered.  Whether it is gone altogether no byte tells any more,
 * so a second's timer asks the socket for a reset meanwhile. */
#include <poll.h>
#include <string.h>

#include "net/inner.h"

bool conn_may_work(const struct conn *c)
{
    const struct conf_port *conf = c->port->conf;

    return conn_is_alive(c) && c->throttled_until == 0 && !c->net->is_held &&
           (conf->backlog == 0 || c->waiting < conf->backlog || c->asks > 0) &&
           c->queue.len < QUEUE_BYTES && !conn_is_above_low(c);
}

static bool may_read(const struct conn *c)
{
    if (!conn_is_alive(c))
        return c->state != CONN_CLOSED;
    return c->proto->may_read != NULL ? c->proto->may_read(c)
                                      : conn_may_work(c);
}

/* --- packets -------------------------------------------------------------- */

static bool may_start(const struct conn *c)
{
    unsigned max = c->port->conf->max_inflight;

    return c->state == CONN_OPEN && !c->is_held &&
           (max == 0 || c->inflight < max);
}

void conn_packet(struct conn *c, struct slice packet)
{
    struct net *n = c->net;
    uint32_t len = (uint32_t)packet.len;

    n->counters.packets_in++;
    c->packets_in++;
    if (c->asks > 0 && n->ops->on_answer != NULL &&
        n->ops->on_answer(n->arg, c, packet))
        return;
    if (c->waiting == 0 && may_start(c) && !conn_is_leaving(c)) {
        c->inflight++;
        n->ops->on_packet(n->arg, c, packet);
        return;
    }
    if (!conn_is_alive(c) || conn_is_leaving(c))
        return;
    net_take_buf(n, &c->queue);
    buf_append(&c->queue, &len, sizeof(len));
    buf_append(&c->queue, packet.p, packet.len);
    c->waiting++;
}

void conn_deliver(struct conn *c)
{
    struct net *n = c->net;

    c->is_working = true;
    while (c->waiting > 0 && may_start(c)) {
        const char *p = buf_slice(&c->queue).p;
        uint32_t len;

        memcpy(&len, p, sizeof(len));
        c->waiting--;
        c->inflight++;
        n->ops->on_packet(n->arg, c, slice_make(p + sizeof(len), len));
        buf_consume(&c->queue, sizeof(len) + len);
    }
    c->is_working = false;
    if (!conn_is_alive(c))
        conn_drop_input(c);
    else if (c->waiting == 0)
        net_give_buf(n, &c->queue);
}

/* --- bytes ---------------------------------------------------------------- */

/* A protocol may hand the conn over to another one amid the bytes. */
static size_t work_on(struct conn *c, char *p, size_t len)
{
    const struct proto *proto;
    size_t used = 0;

    c->is_working = true;
    do {
        proto = c->proto;
        used += proto->on_input(c, p + used, len - used);
    } while (c->proto != proto && used < len);
    c->is_working = false;
    return used;
}

/* After work on what lies in c->in. */
static void keep_in(struct conn *c, size_t used)
{
    if (!conn_is_alive(c)) {
        conn_drop_input(c);
        return;
    }
    buf_consume(&c->in, used);
    if (c->in.len == 0)
        net_give_buf(c->net, &c->in);
}

/* After work on the shared buffer, which began with a copy of c->in. */
static void keep_rest(struct conn *c, const char *p, size_t len, size_t used)
{
    size_t old = c->in.len;

    if (!conn_is_alive(c)) {
        conn_drop_input(c);
        return;
    }
    if (used > 0) {
        buf_consume(&c->in, old);
        old = 0;
    } else if (old > 0) {
        /* Protocols write into their input: names lowered, payload unmasked. */
        memcpy(c->in.p + c->in.head, p, old);
    }
    if (used + old < len) {
        net_take_buf(c->net, &c->in);
        buf_append(&c->in, p + used + old, len - used - old);
    } else {
        net_give_buf(c->net, &c->in);
    }
}

void conn_resume(struct conn *c)
{
    if (conn_is_alive(c) && c->in.len > 0 && conn_may_work(c))
        keep_in(c, work_on(c, c->in.p + c->in.head, c->in.len));
    conn_update_reading(c);
}

void conn_finish(struct conn *c)
{
    if (!c->has_eof || !conn_is_alive(c))
        return;
    if ((c->in.len == 0 || conn_may_work(c)) && c->proto->is_done(c)) {
        conn_end(c, REASON_CLIENT, 0);
    } else if (c->due == 0) {
        c->due = conn_now(c) + LOOK_MS;
        conn_arm(c);
        if (c->is_up && c->net->ops->on_eof != NULL)
            c->net->ops->on_eof(c->net->arg, c);
    }
}

void conn_look(struct conn *c)
{
    struct pollfd p = {.events = 0};

    if (uv_fileno((uv_handle_t *)&c->tcp, &p.fd) == 0 && poll(&p, 1, 0) == 1)
        conn_cut(c, REASON_CLIENT);
    else
        c->due = conn_now(c) + LOOK_MS;
}

void conn_drop_input(struct conn *c)
{
    if (c->is_working)
        return; /* somebody reads there; he comes back here */
    net_give_buf(c->net, &c->in);
    net_give_buf(c->net, &c->queue);
    c->waiting = 0;
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *out)
{
    struct conn *c = handle->data;
    char *shared = c->net->readbuf;

    (void)hint;
    sd_check(c, CONN_MAGIC);
    out->len = READ_SIZE;
    if (c->in.len > TAIL_MAX) {
        out->base = buf_reserve(&c->in, READ_SIZE);
        return;
    }
    if (c->in.len > 0)
        memcpy(shared, c->in.p + c->in.head, c->in.len);
    out->base = shared + c->in.len;
}

static void on_bytes(struct conn *c, const char *at, size_t n)
{
    char *shared = c->net->readbuf;

    c->last_in = conn_now(c);
    c->is_half_idle = false;
    c->net->counters.bytes_in += n;
    c->bytes += n;
    c->net->counters.reads++;
    if (!conn_is_alive(c))
        return;
    if (at == shared + c->in.len) {
        size_t len = c->in.len + n;

        keep_rest(c, shared, len, work_on(c, shared, len));
    } else {
        buf_commit(&c->in, n);
        keep_in(c, work_on(c, c->in.p + c->in.head, c->in.len));
    }
    conn_update_reading(c);
}

static void on_end(struct conn *c, int err)
{
    c->has_eof = true;
    c->is_reading = false;
    uv_read_stop((uv_stream_t *)&c->tcp);
    if (c->state == CONN_LINGERING || (err != UV_EOF && !conn_is_alive(c))) {
        conn_close_handle(c);
        return;
    }
    if (!conn_is_alive(c))
        return; /* the rest is still being written */
    if (err == UV_EOF)
        net_ready(c); /* conn_finish() sees to it */
    else
        conn_cut(c, err == UV_ECONNRESET || err == UV_EPIPE ? REASON_CLIENT
                                                            : REASON_ERROR);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct conn *c = stream->data;

    sd_check(c, CONN_MAGIC);
    net_wake(c->net);
    conn_ref(c);
    if (n > 0)
        on_bytes(c, b->base, (size_t)n);
    else if (n < 0)
        on_end(c, (int)n);
    conn_unref(c);
}

void conn_update_reading(struct conn *c)
{
    bool want = may_read(c) && !c->has_eof;

    if (want == c->is_reading || c->state == CONN_CLOSED)
        return;
    c->is_reading = want;
    if (want)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&c->tcp);
}
