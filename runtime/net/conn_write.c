/* conn_write.c - what goes to the peer: see conn.h.
 *
 * Packets are built in c->out, behind what already waits there.  At the end of
 * the turn one uv_try_write() takes it all, and the buffer goes back to the
 * worker's pool.  What the socket does not take moves into a uv_write() of
 * its own, and c->out gathers again. */
#include "net/inner.h"

enum {
    PIECES = 128, /* of one writev() */
    COPY_MAX =
        65536, /* replies in front of a push that are handed on at once */
};

/* Bytes that libuv has. */
static size_t handed_on(const struct conn *c)
{
    return c->write != NULL
               ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp)
               : 0;
}

uint64_t conn_replies_queued(const struct conn *c)
{
    bool is_push = c->write != NULL && c->write->frame != NULL;

    return c->out.len + (is_push ? 0 : handed_on(c));
}

uint64_t conn_queued(const struct conn *c)
{
    uint64_t n = c->out.len + handed_on(c);

    if (c->pushes != NULL)
        n += outq_weight(c->pushes);
    return n;
}

bool conn_is_above_low(const struct conn *c)
{
    uint64_t low = c->port->conf->slow_low;

    return low > 0 && conn_queued(c) > low;
}

struct buf *conn_out(struct conn *c)
{
    if (c->out.p == NULL)
        net_take_buf(c->net, &c->out);
    return &c->out;
}

void conn_queue(struct conn *c)
{
    if ((c->is_dirty && !c->is_bulk) || c->state == CONN_CLOSED)
        return;
    c->is_dirty = true;
    c->is_bulk = false;
    list_del(&c->dirty);
    list_add(&c->net->dirty, &c->dirty);
}

void conn_queue_push(struct conn *c)
{
    if (c->is_dirty || c->state == CONN_CLOSED)
        return;
    c->is_dirty = c->is_bulk = true;
    list_add(&c->net->bulk, &c->dirty);
}

void conn_drop_output(struct conn *c)
{
    net_give_buf(c->net, &c->out);
    if (c->pushes != NULL)
        conn_drop_pushes(c, c->reason == REASON_SLOW ? PUSH_SLOW : PUSH_GONE);
    if (c->write != NULL && c->write->frame != NULL)
        shared_leave(c->write->frame);
    list_del(&c->dirty);
    c->is_dirty = c->is_bulk = false;
    conn_account(c);
}

static int reason_of_error(int err)
{
    return err == UV_ECONNRESET || err == UV_EPIPE ? REASON_CLIENT
                                                   : REASON_ERROR;
}

/* --- what the socket does not take ---------------------------------------- */

/* Of a closed conn conn_drop_output() has said that the frame will go. */
static void write_free(struct conn_write *w)
{
    net_give_buf(w->conn->net, &w->data);
    if (w->frame != NULL && w->conn->state == CONN_CLOSED)
        shared_left(w->frame);
    else if (w->frame != NULL)
        shared_unref(w->frame);
    mem_free(w);
}

static void on_written(uv_write_t *req, int status)
{
    struct conn_write *w = list_entry(req, struct conn_write, req);
    struct conn *c = w->conn;

    sd_check(c, CONN_MAGIC);
    c->net->counters.bytes_out += w->size;
    c->bytes += w->size;
    write_free(w);
    c->write = NULL;
    c->slow_at = 0;
    if (status < 0)
        conn_cut(c, reason_of_error(status));
    else
        conn_flush(c);
}

/* Let libuv write `w`, from `offset` on; taken. */
static void hand_on(struct conn *c, struct conn_write *w, size_t offset)
{
    struct slice all =
        w->frame != NULL ? shared_frame(w->frame) : buf_slice(&w->data);
    struct slice rest = slice_skip(all, offset);
    uv_buf_t b = {.base = (char *)(uintptr_t)rest.p, .len = rest.len};
    int err;

    w->conn = c;
    w->size = rest.len;
    c->write = w;
    err = uv_write(&w->req, (uv_stream_t *)&c->tcp, &b, 1, on_written);
    if (err < 0) {
        c->write = NULL;
        write_free(w);
        conn_cut(c, reason_of_error(err));
        return;
    }
    c->slow_at = conn_now(c);
    c->slow_left = conn_unacked(c);
    conn_arm(c);
}

/* All replies. */
static void hand_on_out(struct conn *c)
{
    struct conn_write *w = mem_zalloc(sizeof(*w));

    w->data = c->out;
    c->out = (struct buf){0};
    hand_on(c, w, 0);
}

/* --- writing -------------------------------------------------------------- */

/* One write; the bytes taken, maybe 0, or -1: the conn was cut. */
static ssize_t try_write(struct conn *c, const uv_buf_t *v, unsigned n)
{
    int done = uv_try_write((uv_stream_t *)&c->tcp, v, n);

    c->net->counters.writes++;
    if (done == UV_EAGAIN)
        return 0;
    if (done < 0) {
        conn_cut(c, reason_of_error(done));
        return -1;
    }
    c->net->counters.bytes_out += (unsigned)done;
    c->bytes += (unsigned)done;
    return done;
}

/* Write c->out as far as the socket takes it; false: the conn was cut. */
static bool write_out(struct conn *c)
{
    uv_buf_t b = uv_buf_init(c->out.p + c->out.head, (unsigned)c->out.len);
    ssize_t n = try_write(c, &b, 1);

    if (n < 0)
        return false;
    buf_consume(&c->out, (size_t)n);
    if (c->out.len > 0)
        hand_on_out(c);
    else
        net_give_buf(c->net, &c->out);
    return c->state != CONN_CLOSED;
}

static uv_buf_t piece(const char *p, size_t len)
{
    return (uv_buf_t){.base = (char *)(uintptr_t)p, .len = len};
}

/* Replies in front of the oldest push that waits. */
static size_t before_push(const struct conn *c)
{
    if (outq_count(c->pushes) == 0)
        return c->out.len;
    return (size_t)(outq_at(c->pushes, 0)->at - c->replied);
}

/* Replies and pushes in order, in at most PIECES pieces. */
static unsigned gather(const struct conn *c, uv_buf_t *v, size_t *total)
{
    const char *out = c->out.p + c->out.head;
    uint32_t i, n = outq_count(c->pushes);
    size_t from = 0;
    unsigned nv = 0;

    *total = outq_bytes(c->pushes) + c->out.len;
    for (i = 0; i < n && nv + 2 < PIECES; i++) {
        const struct outq_push *p = outq_at(c->pushes, i);
        size_t at = (size_t)(p->at - c->replied);
        struct slice frame = shared_frame(p->frame);

        if (at > from)
            v[nv++] = piece(out + from, at - from);
        from = at;
        v[nv++] = piece(frame.p, frame.len);
    }
    if (i == n && c->out.len > from)
        v[nv++] = piece(out + from, c->out.len - from);
    return nv;
}

static void reply_written(struct conn *c, size_t n)
{
    buf_consume(&c->out, n);
    c->replied += n;
}

/* The oldest push, which is handed to the socket. */
static struct shared *take_push(struct conn *c)
{
    c->port->pushes.waiting--;
    push_written(c);
    return outq_take(c->pushes);
}

/* `n` bytes of replies and pushes are written.  A push that is so in part has
 * left the queue: it comes back, its reference the caller's. */
static struct shared *settle(struct conn *c, size_t n, size_t *offset)
{
    while (n > 0) {
        size_t own = before_push(c), take = own < n ? own : n;
        struct shared *frame;
        size_t len;

        if (take > 0)
            reply_written(c, take);
        n -= take;
        if (n == 0)
            break;
        frame = take_push(c);
        len = shared_frame(frame).len;
        if (n < len) {
            *offset = n;
            return frame;
        }
        n -= len;
        shared_unref(frame);
    }
    return NULL;
}

/* The socket is full: libuv shall tell when it is not.  It gets what must be
 * written next, as little as possible, since that cannot be dropped. */
static void wait_for_room(struct conn *c, struct shared *begun, size_t offset)
{
    struct conn_write *w;
    size_t own = before_push(c);

    if (begun == NULL && outq_count(c->pushes) == 0) {
        hand_on_out(c);
        return;
    }
    w = mem_zalloc(sizeof(*w));
    if (begun == NULL && own > 0) {
        own = own < COPY_MAX ? own : COPY_MAX;
        buf_append(&w->data, buf_slice(&c->out).p, own);
        reply_written(c, own);
    } else {
        w->frame = begun != NULL ? begun : take_push(c);
    }
    hand_on(c, w, offset);
}

/* Write replies and pushes as far as the socket takes them; false: the conn
 * was cut. */
static bool write_all(struct conn *c)
{
    struct shared *begun = NULL;
    uv_buf_t v[PIECES];
    size_t left, offset = 0;
    ssize_t n;

    do {
        unsigned nv = gather(c, v, &left);

        n = try_write(c, v, nv);
        if (n < 0)
            return false;
        begun = settle(c, (size_t)n, &offset);
        left -= (size_t)n;
    } while (n > 0 && left > 0 && begun == NULL);
    if (left > 0)
        wait_for_room(c, begun, offset);
    if (c->state == CONN_CLOSED)
        return false;
    if (outq_count(c->pushes) == 0)
        outq_free(&c->net->outqs, &c->pushes);
    if (c->out.len == 0)
        net_give_buf(c->net, &c->out);
    return true;
}

/* False: the conn was cut. */
static bool write_now(struct conn *c)
{
    if (c->pushes != NULL)
        return write_all(c);
    return c->out.len == 0 || write_out(c);
}

void conn_flush(struct conn *c)
{
    if (c->state == CONN_CLOSED || (c->write == NULL && !write_now(c)))
        return;
    if (c->rank.weight > 0 || conn_is_backlogged(c))
        conn_account(c);
    if (c->write != NULL)
        return;
    if (c->state == CONN_CLOSING && c->out.len == 0 && c->pushes == NULL)
        conn_shut(c);
    else if ((!c->is_reading || c->request != NULL) && conn_is_alive(c))
        net_ready(c);
}

/* --- packets -------------------------------------------------------------- */

int conn_send_begin(struct buf **out, struct conn *c)
{
    uint64_t high = c->port->conf->slow_high;
    int err;

    sd_check(c, CONN_MAGIC);
    if (!conn_is_alive(c))
        return SD_EGONE;
    if (c->proto->begin == NULL)
        return SD_EREFUSED;
    if (c->is_slow || (high > 0 && conn_queued(c) > high)) {
        err = conn_make_room(c);
        if (err < 0)
            return err;
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
    c->packets_out++;
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
