/* stream.c - the protocol of TCP ports: packets cut by a framing (codec/frame).
 *
 * Whole packets are handed up where they lie in the read buffer.  Of an
 * incomplete one the conn remembers how many bytes it needs at least, so it is
 * not looked at again before they are there. */
#include "net/inner.h"

static int next(struct conn *c, struct slice in, struct frame *out)
{
    const struct frame_spec *spec = &c->format->frame;
    const struct conn_ops *ops = c->net->ops;
    int64_t n;

    if (spec->type != FRAME_PACK)
        return frame_next(spec, in, out);
    n = ops->on_length != NULL ? ops->on_length(c->net->arg, c, in) : -1;
    return frame_cut(spec, in, n != 0, n, out);
}

static size_t stream_on_input(struct conn *c, char *p, size_t len)
{
    struct frame f = {.scanned = c->scanned};
    size_t used = 0;

    if (len < c->need)
        return 0;
    while (used < len && conn_may_work(c)) {
        int got = next(c, slice_make(p + used, len - used), &f);

        if (got == 0) {
            c->need = f.need;
            c->scanned = f.scanned;
            return used;
        }
        if (got < 0) {
            conn_end(c, got == SD_ETOOLARGE ? REASON_TOO_LARGE : REASON_FRAME,
                     0);
            return len;
        }
        used += f.size;
        conn_charge(c, 1, f.body.len);
        conn_packet(c, f.body);
    }
    c->need = c->scanned = 0;
    return used;
}

/* One that is asked something will not answer any more. */
static bool stream_is_done(const struct conn *c)
{
    return (c->waiting == 0 && c->inflight == 0) || c->asks > 0;
}

static void stream_on_idle(struct conn *c)
{
    conn_end(c, REASON_IDLE, 0);
}

static size_t stream_begin(struct buf *out, struct conn *c)
{
    return frame_begin(&c->format->frame, out);
}

static int stream_seal(struct buf *out, struct conn *c, size_t start)
{
    return frame_seal(&c->format->frame, out, start);
}

const struct proto proto_stream = {
    .name = CONN_TCP,
    .on_input = stream_on_input,
    .is_done = stream_is_done,
    .on_idle = stream_on_idle,
    .begin = stream_begin,
    .seal = stream_seal,
};
