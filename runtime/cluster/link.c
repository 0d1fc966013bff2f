/* link.c - see link.h.
 *
 * One hook writes for all links of the process: those that were written to are
 * on a list, so an idle one costs nothing.  A link that is to be closed waits
 * on another list for the end of the turn, so that nobody who has it in hand
 * is surprised.
 *
 * What a stranger can do: hold one of LINK_STRANGERS places for PROOF_WAIT, or
 * until so many others came behind it, and have us answer one message of his
 * with one that is no longer.  So those who say nothing, however many, keep
 * nobody out whose proof takes a moment.
 *
 * A beat says when it was made, which beat of the other side was heard last
 * and how long ago: so each side knows the time there and back, without an
 * answer that would have to be sent at once. */
#include "cluster/link.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "cluster/frames.h"
#include "cluster/link_socket.h"
#include "loop/pollfd.h"
#include "loop/timer.h"
#include "store/dial.h"

#define LINK_MAGIC  0x6c696e6bu
#define LINKS_MAGIC 0x6c6e6b73u

enum {
    PROOF_WAIT = 5000, /* ms */
    BEAT = 1000,
    LOOK = 250,
    ROUND_TRIP_MAX = 60000000, /* us; a longer one is a beat of long ago */
    READ_SIZE = 64 * 1024,
    READS_MAX = 8,           /* in one turn, so that others get theirs */
    KEEP_OUTPUT = 256 * 1024 /* memory an emptied output keeps */
};

enum link_state {
    LINK_DIALING,
    LINK_PROVING,
    LINK_OPEN,
    LINK_CLOSING,
};

struct beat {      /* little-endian */
    uint32_t made; /* us of the sender's clock, odd */
    uint32_t echo; /* `made` of the last beat it heard, 0: none, ... */
    uint32_t held; /* ... and for so many us since */
};

struct link {
    unsigned magic;
    enum link_state state;
    struct links *links;
    void *arg;
    struct list node;    /* of links.all */
    struct list dirty;   /* of links.dirty or links.closing */
    struct list strange; /* of links.strange */
    struct dial *dial;
    int fd; /* -1: none */
    struct pollfd_watch *watch;
    struct timer timer;
    struct hand *hand;     /* while it is proved */
    struct stream *stream; /* from then on */
    struct buf out;
    bool is_blocked;  /* the socket takes no more for now */
    bool is_accepted; /* not by us */
    const char *why;
    char peer[LINK_SOCKET_NAME];
    uint64_t began, heard, beaten;
    uint32_t last_made; /* of the peer's last beat, which came ... */
    uint32_t last_came; /* ... then, in us */
    uint32_t round_trip;
};

struct links {
    unsigned magic;
    struct links_config config;
    struct list all, dirty, closing;
    struct list strange; /* who has proved nothing yet, oldest first */
    struct loop_hook hook;
    unsigned strangers;
    struct links_figures figures;
    char in[READ_SIZE];
};

/* --- the end -------------------------------------------------------------- */

static bool is_stranger(const struct link *l)
{
    return l->is_accepted && l->state == LINK_PROVING;
}

/* It has proved who it is, or ends. */
static void end_strangeness(struct link *l)
{
    l->links->strangers--;
    list_del(&l->strange);
}

void link_close(struct link *l, const char *why)
{
    sd_check(l, LINK_MAGIC);
    if (l->state == LINK_CLOSING)
        return;
    if (is_stranger(l)) {
        end_strangeness(l);
        l->links->figures.strangers++;
    }
    l->state = LINK_CLOSING;
    l->why = why;
    list_del(&l->dirty);
    list_add(&l->links->closing, &l->dirty);
}

static void link_free(struct link *l)
{
    timer_stop(l->links->config.loop, &l->timer);
    dial_close(&l->dial);
    pollfd_close(&l->watch);
    if (l->fd >= 0)
        close(l->fd);
    hand_free(&l->hand);
    stream_free(&l->stream);
    buf_fini(&l->out);
    list_del(&l->dirty);
    list_del(&l->strange);
    list_del(&l->node);
    l->magic = 0;
    mem_free(l);
}

/* --- writing -------------------------------------------------------------- */

static void mark(struct link *l)
{
    if (list_empty(&l->dirty))
        list_add(&l->links->dirty, &l->dirty);
}

int link_write(struct link *l, uint8_t type, const struct slice *v, unsigned n)
{
    sd_check(l, LINK_MAGIC);
    if (l->state != LINK_OPEN)
        return 0;
    mark(l);
    return stream_write(l->stream, &l->out, type, v, n);
}

static void set_blocked(struct link *l, bool is_blocked)
{
    if (l->is_blocked != is_blocked)
        pollfd_want_write(l->watch, is_blocked);
    l->is_blocked = is_blocked;
}

/* What the socket takes of the first `n` bytes. */
static int send_some(struct link *l, size_t n)
{
    struct slice s = buf_slice(&l->out);

    while (n > 0 && !l->is_blocked) {
        ssize_t done = send(l->fd, s.p, n, MSG_NOSIGNAL);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno != EAGAIN)
            return -errno;
        set_blocked(l, done < (ssize_t)n);
        if (done <= 0)
            break;
        l->links->figures.sent += (uint64_t)done;
        buf_consume(&l->out, (size_t)done);
        n -= (size_t)done;
        s = buf_slice(&l->out);
    }
    if (l->out.len == 0 && l->out.cap > KEEP_OUTPUT)
        buf_fini(&l->out);
    return 0;
}

static void flush(struct link *l)
{
    int err;

    list_del(&l->dirty);
    if (l->fd < 0 || l->state == LINK_DIALING)
        return;
    if (l->stream != NULL)
        stream_seal(l->stream, &l->out);
    err = send_some(l, l->out.len);
    if (err < 0)
        link_close(l, err_str(err));
}

/* A goodbye that was written may still leave. */
static void end(struct link *l)
{
    struct links *ls = l->links;

    if (l->stream != NULL) {
        stream_seal(l->stream, &l->out);
        (void)send_some(l, l->out.len);
    }
    ls->figures.closed++;
    ls->config.ops->on_close(l->arg, l, l->why);
    link_free(l);
}

/* Writing may close, and closing may write. */
static bool on_turn(struct loop_hook *hook)
{
    struct links *ls = list_entry(hook, struct links, hook);
    bool worked = false;

    while (!list_empty(&ls->dirty))
        flush(list_entry(ls->dirty.next, struct link, dirty));
    while (!list_empty(&ls->closing)) {
        end(list_entry(ls->closing.next, struct link, dirty));
        worked = true;
    }
    return worked;
}

/* --- beats ---------------------------------------------------------------- */

/* It comes round after an hour. */
static uint32_t now_us(void)
{
    return (uint32_t)(clock_ns() / 1000) | 1;
}

static void beat(struct link *l, uint64_t now)
{
    uint32_t us = now_us();
    struct beat b = {.made = htole32(us), .echo = htole32(l->last_made)};
    struct slice v = {(const char *)&b, sizeof(b)};

    if (l->last_made != 0)
        b.held = htole32(us - l->last_came);
    l->beaten = now;
    (void)link_write(l, FRAMES_HEARTBEAT, &v, 1);
}

static void take_beat(struct link *l, struct slice payload)
{
    uint32_t us = now_us(), there_and_back;
    struct beat b;

    if (payload.len != sizeof(b)) {
        link_close(l, "a beat that is none");
        return;
    }
    memcpy(&b, payload.p, sizeof(b));
    l->last_made = le32toh(b.made);
    l->last_came = us;
    there_and_back = us - le32toh(b.echo) - le32toh(b.held);
    if (b.echo != 0 && there_and_back < ROUND_TRIP_MAX)
        l->round_trip = there_and_back > 0 ? there_and_back : 1;
}

static void on_look(struct timer *t)
{
    struct link *l = list_entry(t, struct link, timer);
    uint64_t now = clock_ms();

    sd_check(l, LINK_MAGIC);
    if (l->state == LINK_CLOSING)
        return;
    if (l->state != LINK_OPEN && now - l->began >= PROOF_WAIT)
        link_close(l, l->state == LINK_DIALING ? "no connection in time"
                                               : "no proof in time");
    else if (l->state == LINK_OPEN && now - l->heard >= LINK_SILENCE)
        link_close(l, "silent");
    else if (l->state == LINK_OPEN && now - l->beaten >= BEAT)
        beat(l, now);
    timer_start(l->links->config.loop, t, LOOK);
}

/* --- reading -------------------------------------------------------------- */

/* The proof is through: from here on there are records. */
static bool begin_stream(struct link *l)
{
    const struct hand_session *s = hand_session(l->hand);
    bool is_welcome;

    l->stream = stream_create(s->encrypted ? s->send : NULL,
                              s->encrypted ? s->receive : NULL);
    if (is_stranger(l))
        end_strangeness(l);
    l->state = LINK_OPEN;
    l->links->figures.opened++;
    is_welcome = l->links->config.ops->on_open(l->arg, l, s->peer);
    hand_free(&l->hand);
    if (!is_welcome)
        link_close(l, "not welcome");
    else if (l->state == LINK_OPEN)
        beat(l, clock_ms());
    return l->state == LINK_OPEN;
}

/* How much of it was taken; all, when it failed. */
static size_t prove(struct link *l, struct slice in)
{
    int n = hand_feed(l->hand, in, &l->out);

    mark(l);
    if (n < 0) {
        link_close(l, hand_why_text(hand_why(l->hand)));
        return in.len;
    }
    if (hand_session(l->hand) != NULL && !begin_stream(l))
        return in.len;
    return (size_t)n;
}

static void take_frames(struct link *l)
{
    const struct link_ops *ops = l->links->config.ops;
    struct stream_frame f;
    int got = 1;

    while (l->state == LINK_OPEN && (got = stream_next(l->stream, &f)) == 1) {
        if (f.type == FRAMES_HEARTBEAT)
            take_beat(l, f.payload);
        else
            ops->on_frame(l->arg, l, &f);
    }
    if (got < 0)
        link_close(l, "a record that is none");
}

static void take(struct link *l, struct slice in)
{
    l->heard = clock_ms();
    l->links->figures.received += in.len;
    if (l->state == LINK_PROVING)
        in = slice_skip(in, prove(l, in));
    if (l->state != LINK_OPEN || in.len == 0)
        return;
    stream_feed(l->stream, in);
    take_frames(l);
}

static void read_some(struct link *l)
{
    struct links *ls = l->links;
    unsigned reads = 0;
    ssize_t n = 0;

    while (l->state != LINK_CLOSING && reads++ < READS_MAX) {
        n = recv(l->fd, ls->in, READ_SIZE, 0);
        if (n <= 0)
            break;
        take(l, slice_make(ls->in, (size_t)n));
        if (n < READ_SIZE)
            return;
    }
    if (n == 0)
        link_close(l, "the other side has closed it");
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        link_close(l, err_str(-errno));
}

static void on_ready(void *arg)
{
    struct link *l = arg;

    sd_check(l, LINK_MAGIC);
    if (l->state == LINK_CLOSING)
        return;
    if (l->is_blocked) {
        set_blocked(l, false);
        mark(l);
    }
    read_some(l);
}

/* --- the beginning -------------------------------------------------------- */

static struct link *link_new(struct links *ls, void *arg)
{
    struct link *l = mem_zalloc(sizeof(*l));

    l->magic = LINK_MAGIC;
    l->links = ls;
    l->arg = arg;
    l->fd = -1;
    l->began = clock_ms();
    l->timer.fn = on_look;
    list_init(&l->dirty);
    list_init(&l->strange);
    list_add(&ls->all, &l->node);
    timer_start(ls->config.loop, &l->timer, LOOK);
    return l;
}

/* The socket is there; takes it. */
static int begin_proof(struct link *l, int fd)
{
    unsigned char entropy[HAND_ENTROPY];
    int err;

    l->fd = fd;
    link_socket_name(l->peer, fd);
    err = link_socket_tune(fd);
    if (err == 0)
        err = pollfd_open(&l->watch, l->links->config.loop, fd, on_ready, l);
    if (err == 0 &&
        getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy))
        err = -errno;
    if (err < 0)
        return err;
    l->state = LINK_PROVING;
    l->began = clock_ms();
    l->hand = hand_create(l->links->config.role, l->links->config.hand, entropy,
                          &l->out);
    mark(l);
    return 0;
}

static void on_dialed(void *arg, int fd)
{
    struct link *l = arg;
    int err;

    sd_check(l, LINK_MAGIC);
    dial_close(&l->dial);
    err = fd < 0 ? fd : begin_proof(l, fd);
    if (err < 0)
        link_close(l, err_str(err));
}

struct link *link_connect(struct links *ls, const char *host, unsigned port,
                          void *arg)
{
    struct dial_to to = {.path = "", .host = host, .port = port};
    struct link *l;

    sd_check(ls, LINKS_MAGIC);
    l = link_new(ls, arg);
    snprintf(l->peer, sizeof(l->peer), "%s:%u", host, port);
    dial_open(&l->dial, ls->config.loop, to, on_dialed, l);
    return l;
}

struct link *link_accept(struct links *ls, int fd, void *arg)
{
    struct link *l;

    sd_check(ls, LINKS_MAGIC);
    if (ls->strangers >= LINK_STRANGERS) {
        ls->figures.crowded++;
        link_close(list_entry(ls->strange.next, struct link, strange),
                   "too many that prove nothing");
    }
    l = link_new(ls, arg);
    l->is_accepted = true;
    if (begin_proof(l, fd) < 0) {
        link_free(l);
        return NULL;
    }
    ls->strangers++;
    list_add(&ls->strange, &l->strange);
    return l;
}

struct links *links_new(const struct links_config *config)
{
    struct links *ls = mem_zalloc(sizeof(*ls));

    ls->magic = LINKS_MAGIC;
    ls->config = *config;
    list_init(&ls->all);
    list_init(&ls->dirty);
    list_init(&ls->closing);
    list_init(&ls->strange);
    ls->hook = (struct loop_hook){.fn = on_turn, .rank = LOOP_FLUSH};
    loop_hook_add(config->loop, &ls->hook);
    return ls;
}

void links_free(struct links **lp)
{
    struct links *ls = *lp;

    if (ls == NULL)
        return;
    sd_check(ls, LINKS_MAGIC);
    while (!list_empty(&ls->all))
        link_free(list_entry(ls->all.next, struct link, node));
    loop_hook_del(&ls->hook);
    ls->magic = 0;
    mem_free(ls);
    *lp = NULL;
}

/* --- what others ask ------------------------------------------------------ */

void link_set_arg(struct link *l, void *arg)
{
    l->arg = arg;
}

bool link_is_open(const struct link *l)
{
    return l->state == LINK_OPEN;
}

size_t link_unsent(const struct link *l)
{
    return l->out.len;
}

uint32_t link_round_trip(const struct link *l)
{
    return l->round_trip;
}

uint64_t link_heard(const struct link *l)
{
    return l->heard;
}

const char *link_peer(const struct link *l)
{
    return l->peer;
}

const struct links_figures *links_figures(const struct links *ls)
{
    return &ls->figures;
}
