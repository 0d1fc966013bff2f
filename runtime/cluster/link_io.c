/* link_io.c - the bytes of a link: what it writes, and what becomes of those
 * that come: first a handshake, then records of frames.
 *
 * A turn reads a bounded amount of each link, so that others get theirs; the
 * rest waits in the socket and wakes the loop again. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "cluster/frames.h"
#include "cluster/link_inner.h"

enum {
    READS_MAX = 8,           /* in one turn */
    STILL_US = 10000000,     /* far beyond LINK_SILENCE */
    KEEP_OUTPUT = 256 * 1024 /* memory an emptied output keeps */
};

/* --- writing -------------------------------------------------------------- */

static void set_blocked(struct link *l, bool is_blocked)
{
    if (l->is_blocked != is_blocked)
        pollfd_want_write(l->watch, is_blocked);
    l->is_blocked = is_blocked;
}

/* One write is what it takes, but for one that was cut short. */
static int send_all(struct link *l)
{
    while (l->out.len > 0) {
        struct slice s = buf_slice(&l->out);
        ssize_t n = send(l->fd, s.p, s.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -errno;
        set_blocked(l, n < (ssize_t)s.len);
        if (n > 0) {
            l->links->figures.sent += (uint64_t)n;
            buf_consume(&l->out, (size_t)n);
        }
        if (l->is_blocked)
            break;
    }
    if (l->out.len == 0 && l->out.cap > KEEP_OUTPUT)
        buf_fini(&l->out);
    return 0;
}

int link_send(struct link *l)
{
    if (l->fd < 0)
        return 0;
    if (l->stream != NULL)
        stream_seal(l->stream, &l->out);
    if (l->is_blocked && !l->may_write)
        return 0;
    l->may_write = false;
    return send_all(l);
}

/* A relay looks at the clock once for all that it takes of a read: for each
 * message it would be 3 % of its work.  In a worker scripts may run between
 * two frames, for as long as they like. */
static uint64_t tick_of(const struct links *ls)
{
    return ls->tick != 0 ? ls->tick : clock_tick_ns();
}

/* What is written now may wait in `out`, and in two sockets: its reader shall
 * know since when.  One stamp holds for all that is written within a tick. */
static void stamp(struct link *l)
{
    char bytes[BEATS_STAMP_SIZE];
    struct slice v = {bytes, sizeof(bytes)};
    uint64_t tick = tick_of(l->links);

    if (tick == l->stamped)
        return;
    l->stamped = tick;
    beats_write_stamp(bytes, tick / 1000);
    (void)stream_write(l->stream, &l->out, FRAMES_TIME, &v, 1);
}

/* Windows bound what waits for somebody slow; who sends on, and reads no
 * answers, is not slow. */
int link_write(struct link *l, uint8_t type, const struct slice *v, unsigned n)
{
    int err;

    sd_check(l, LINK_MAGIC);
    if (l->state != LINK_OPEN)
        return 0;
    link_mark(l);
    if (frames_is_data(type))
        stamp(l);
    err = stream_write(l->stream, &l->out, type, v, n);
    if (l->out.len > LINK_UNSENT_MAX)
        link_close(l, "the other side reads nothing");
    return err;
}

void link_beat(struct link *l, uint64_t now)
{
    char beat[BEATS_SIZE];
    struct slice v = {beat, sizeof(beat)};

    beats_write(&l->beats, beat, clock_ns() / 1000);
    l->beaten = now;
    (void)link_write(l, FRAMES_HEARTBEAT, &v, 1);
}

/* --- reading -------------------------------------------------------------- */

/* A stamp is of the last tick: that much is not sure. */
uint32_t link_waited(const struct link *l)
{
    uint64_t us = tick_of(l->links) / 1000;
    uint32_t ms;

    us = us > l->heard_us ? us : l->heard_us;
    ms = beats_waited(&l->beats, us) / 1000;
    return ms > CLOCK_TICK_MS ? ms - CLOCK_TICK_MS : 0;
}

/* What was wrong with a handshake, for a person. */
static const char *fault(struct link *l)
{
    enum hand_why why = hand_why(l->hand);

    if (why != HAND_OTHER_VERSION)
        return hand_why_text(why);
    snprintf(l->text, sizeof(l->text), "%s: %u, we speak %u",
             hand_why_text(why), hand_peer_version(l->hand), HAND_VERSION);
    return l->text;
}

/* Who has asked is not among those any more who say nothing. */
static void believe(struct link *l)
{
    struct links *ls = l->links;

    if (l->stranger.crowd == &ls->strangers.silent && hand_has_asked(l->hand))
        link_drop(strangers_believe(&ls->strangers, &l->stranger),
                  "too many that prove nothing");
}

/* How much of it was taken; all, when it failed. */
static size_t prove(struct link *l, struct slice in)
{
    int n = hand_feed(l->hand, in, &l->out);
    const struct hand_session *s = hand_session(l->hand);

    link_mark(l);
    if (n < 0) {
        link_close(l, fault(l));
        return in.len;
    }
    believe(l);
    if (s != NULL && !link_begin(l, s))
        return in.len;
    return (size_t)n;
}

static void take_frame(struct link *l, const struct stream_frame *f)
{
    int err = 0;

    if (f->type == FRAMES_TIME)
        err = beats_take_stamp(&l->beats, f->payload, l->heard_us);
    else if (f->type == FRAMES_HEARTBEAT)
        err = beats_take(&l->beats, f->payload, l->heard_us);
    else
        l->links->config.ops->on_frame(l->arg, l, f);
    if (err < 0)
        link_close(l, "a time that is none");
}

static void take_frames(struct link *l)
{
    const struct link_ops *ops = l->links->config.ops;
    struct stream_frame f[LINK_BATCH];
    unsigned i, n;
    int got = 1;

    while (got == 1 && l->state == LINK_OPEN) {
        for (n = 0; n < LINK_BATCH; n++) {
            got = stream_next(l->stream, &f[n]);
            if (got != 1)
                break;
        }
        if (n > 1 && ops->on_batch != NULL)
            ops->on_batch(l->arg, f, n);
        for (i = 0; i < n && l->state == LINK_OPEN; i++)
            take_frame(l, &f[i]);
    }
    if (got < 0)
        link_close(l, "a record that is none");
}

/* Whose process stood still for that long was given up by the other side; what
 * is in the socket is old, and no clock of ours says how old. */
static bool is_stale(const struct link *l, uint64_t us)
{
    return l->state == LINK_OPEN && us - l->heard_us >= STILL_US;
}

static void take(struct link *l, struct slice in)
{
    uint64_t us = clock_ns() / 1000;

    if (is_stale(l, us)) {
        link_close(l, "silent");
        return;
    }
    l->heard_us = us;
    l->links->figures.received += in.len;
    if (l->state == LINK_PROVING)
        in = slice_skip(in, prove(l, in));
    if (l->state != LINK_OPEN || in.len == 0)
        return;
    stream_feed(l->stream, in);
    if (l->links->config.role == HAND_RELAY)
        l->links->tick = clock_tick_ns();
    take_frames(l);
    l->links->tick = 0;
}

/* Before a proof only the other side knows why, and says it in its log. */
static const char *end_of(const struct link *l)
{
    return l->state == LINK_PROVING ? LINK_CLOSED " before a proof"
                                    : LINK_CLOSED;
}

static void read_some(struct link *l)
{
    struct links *ls = l->links;
    unsigned reads = 0;
    ssize_t n = 0;

    while (l->state != LINK_CLOSING && reads++ < READS_MAX) {
        n = recv(l->fd, ls->in, LINK_READ_SIZE, 0);
        if (n <= 0)
            break;
        take(l, slice_make(ls->in, (size_t)n));
        if (n < LINK_READ_SIZE)
            return;
    }
    if (n == 0)
        link_close(l, end_of(l));
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        link_close(l, err_str(-errno));
}

void link_receive(struct link *l)
{
    if (l->is_blocked) {
        l->may_write = true;
        link_mark(l);
    }
    read_some(l);
}
