/* conn_push.c - see push.h: what becomes of pushes to conns that read slowly.
 *
 * A small push behind replies of the same turn is copied to them, and one for
 * a single conn begins such a run.  Others, also where nothing waits (for many
 * conns references are cheaper than buffers), wait in the conn's outq, and only
 * what waits there is ever dropped: a frame of which a byte may have been
 * written has left the queue (conn_write.c).
 *
 * All conns that have something left after a turn's writing are ranked by how
 * much, and by what they can give of it; when their memory together passes the
 * worker's budget, those with the most lose it first.  A frame that many wait
 * for counts once, also when it was begun, which nothing takes back: what is
 * begun for conns that are not closed for being slow comes on top of the
 * budget. */
#include "net/inner.h"
#include "net/push.h"

enum {
    COPY_SIZE = 512,   /* larger pushes are referred to */
    COPY_ROOM = 32768, /* and all when so much was copied */
    LAST_WORDS = 65536 /* in front of a farewell, at most */
};

static const char *const words[PUSH_DROPS] = {
    [PUSH_NEW] = "drop_new",      [PUSH_OLD] = "drop_old",
    [PUSH_SLOW] = "slow",         [PUSH_VOLATILE] = "volatile",
    [PUSH_BUDGET] = "budget",     [PUSH_GONE] = "gone",
    [PUSH_REPLACED] = "replaced",
};

const char *push_drop_word(int reason)
{
    sd_assert(reason >= 0 && reason < PUSH_DROPS);
    return words[reason];
}

/* --- making one ----------------------------------------------------------- */

int push_frame(struct push *p, struct conn *like, struct slice body)
{
    size_t start;
    int err;

    sd_check(like, CONN_MAGIC);
    if (like->proto->begin == NULL)
        return SD_EREFUSED;
    buf_truncate(&p->frame, 0);
    start = like->proto->begin(&p->frame, like);
    buf_append(&p->frame, body.p, body.len);
    err = like->proto->seal(&p->frame, like, start);
    if (err < 0)
        buf_truncate(&p->frame, 0);
    return err;
}

static struct shared *keep(struct push *p, struct net *n)
{
    if (p->kept == NULL)
        p->kept = shared_new(buf_slice(&p->frame), p->value, &n->shared_bytes);
    return p->kept;
}

void push_end(struct push *p)
{
    if (p->kept != NULL)
        shared_unref(p->kept);
    p->kept = NULL;
    buf_truncate(&p->frame, 0);
    if (p->frame.cap > POOL_BYTES)
        buf_fini(&p->frame);
}

void push_fini(struct push *p)
{
    push_end(p);
    buf_fini(&p->frame);
}

/* --- dropping ------------------------------------------------------------- */

void conn_was_slow(struct conn *c)
{
    c->port->pushes.slow_conns += !c->was_slow;
    c->was_slow = true;
}

static void count_drop(struct conn *c, int reason)
{
    c->port->pushes.dropped[reason]++;
    switch (reason) {
    case PUSH_NEW:
    case PUSH_OLD:
    case PUSH_BUDGET:
        conn_was_slow(c); /* others: it is closed, or all is as asked for */
    }
}

/* The oldest that waits. */
static void drop_one(struct conn *c, int reason)
{
    const struct conn_ops *ops = c->net->ops;
    struct shared *s = outq_take(c->pushes);

    c->port->pushes.waiting--;
    count_drop(c, reason);
    if (reason != PUSH_GONE && ops->on_drop != NULL)
        ops->on_drop(c->net->arg, c, shared_value(s), push_drop_word(reason));
    shared_unref(s);
}

void conn_drop_pushes(struct conn *c, int reason)
{
    while (c->pushes != NULL && outq_count(c->pushes) > 0)
        drop_one(c, reason);
    outq_free(&c->net->outqs, &c->pushes);
}

void conn_too_slow(struct conn *c, int reason)
{
    c->is_slow = true;
    conn_drop_pushes(c, reason);
    net_ready(c);
}

static bool is_over(const struct conn *c)
{
    uint64_t high = c->port->conf->slow_high;

    return high > 0 && conn_queued(c) > high;
}

/* Write what can be; does too much wait even so? */
static bool stays_over(struct conn *c)
{
    if (!is_over(c))
        return false;
    conn_flush(c);
    return conn_is_alive(c) && is_over(c);
}

static void drop_until_fits(struct conn *c)
{
    while (c->pushes != NULL && is_over(c)) {
        drop_one(c, PUSH_OLD);
        if (outq_count(c->pushes) == 0)
            outq_free(&c->net->outqs, &c->pushes);
    }
}

int conn_make_room(struct conn *c)
{
    enum conf_policy policy = c->port->conf->slow_policy;

    if (c->is_slow)
        return SD_ESLOW;
    if (!stays_over(c))
        return conn_is_alive(c) ? 0 : SD_EGONE;
    if (policy == CONF_DROP_OLD)
        drop_until_fits(c);
    if (policy != CONF_CLOSE &&
        conn_replies_queued(c) <= c->port->conf->slow_high)
        return 0; /* it is not for its replies that it is over */
    conn_too_slow(c, PUSH_SLOW);
    return SD_ESLOW;
}

/* 0, or a negative code for a push that was dropped. */
static int make_room_for_push(struct conn *c)
{
    if (!stays_over(c))
        return conn_is_alive(c) ? 0 : SD_EGONE;
    switch (c->port->conf->slow_policy) {
    case CONF_DROP_OLD:
        drop_until_fits(c);
        if (!is_over(c))
            return 0;
        count_drop(c, PUSH_NEW);
        return SD_ESLOW;
    case CONF_DROP_NEW:
        count_drop(c, PUSH_NEW);
        return SD_ESLOW;
    case CONF_CLOSE:
        break;
    }
    count_drop(c, PUSH_SLOW);
    conn_too_slow(c, PUSH_SLOW);
    return SD_ESLOW;
}

/* --- queueing ------------------------------------------------------------- */

static void refer(struct conn *c, struct push *p)
{
    if (c->pushes == NULL) {
        c->pushes = outq_new(&c->net->outqs);
        c->replied = 0;
    }
    outq_add(c->pushes, keep(p, c->net), c->replied + c->out.len, p->key);
    c->port->pushes.waiting++;
    conn_queue_push(c);
}

/* The one that waits with its key, borrowed, or NULL. */
static struct shared *predecessor(const struct conn *c, const struct push *p)
{
    return p->key != 0 && c->pushes != NULL ? outq_find(c->pushes, p->key)
                                            : NULL;
}

static bool conflate(struct conn *c, struct push *p)
{
    if (predecessor(c, p) == NULL)
        return false;
    shared_unref(outq_replace(c->pushes, keep(p, c->net), p->key));
    count_drop(c, PUSH_REPLACED);
    return true;
}

/* One that takes the place of another needs no room, unless it is larger;
 * making that may drop or write the other. */
static int push_slowly(struct conn *c, struct push *p)
{
    const struct shared *old = predecessor(c, p);
    int err = 0;

    if (c->is_slow) {
        count_drop(c, PUSH_SLOW);
        return SD_ESLOW;
    }
    if (old == NULL && p->is_volatile && conn_is_above_low(c)) {
        count_drop(c, PUSH_VOLATILE);
        return SD_ESLOW;
    }
    if (old == NULL || shared_frame(old).len < p->frame.len)
        err = make_room_for_push(c);
    if (err == 0 && !conflate(c, p))
        refer(c, p);
    return err;
}

/* Is it small, and may it go with replies that will be written soon? */
static bool may_copy(const struct conn *c, const struct push *p)
{
    return c->write == NULL && c->pushes == NULL && !c->is_slow &&
           (c->out.len > 0 || p->is_single) && c->out.len <= COPY_ROOM &&
           !conn_is_above_low(c) && p->key == 0 && p->frame.len <= COPY_SIZE;
}

int conn_push(struct conn *c, struct push *p)
{
    struct slice frame = buf_slice(&p->frame);
    int err = 0;

    sd_check(c, CONN_MAGIC);
    if (!conn_is_alive(c))
        return SD_EGONE;
    if (c->proto->begin == NULL)
        return SD_EREFUSED;
    if (frame.len == 0)
        return 0;
    if (may_copy(c, p)) {
        buf_append(conn_out(c), frame.p, frame.len);
        push_written(c);
        conn_queue_push(c);
    } else {
        err = push_slowly(c, p);
    }
    c->port->pushes.accepted += err != SD_EGONE;
    return err;
}

void push_written(struct conn *c)
{
    c->port->pushes.written++;
    c->net->counters.packets_out++;
    c->packets_out++;
}

/* --- the whole worker ----------------------------------------------------- */

bool conn_is_backlogged(const struct conn *c)
{
    return c->write != NULL || c->pushes != NULL;
}

bool conn_needs_push(const struct conn *c)
{
    return conn_is_backlogged(c) || c->port->conf->slow_policy != CONF_CLOSE;
}

/* What a conn can give when memory is short; the most harmless comes first,
 * which is the highest here. */
enum {
    GIVES_NOTHING, /* it has but begun a push, and is not closed for that */
    GIVES_ITSELF,  /* ... or for its replies, unless all else does not do */
    GIVES_REST,    /* of its output: it is closing */
    GIVES_PUSHES,  /* or itself, where the port closes slow conns */
    GIVES_SHIFT = 56
};

static uint64_t gift_of(const struct conn *c, uint64_t queued)
{
    uint64_t gives;

    if (queued == 0)
        return GIVES_NOTHING; /* libuv is about to say that all is written */
    if (!conn_is_alive(c))
        gives = GIVES_REST;
    else if (c->pushes != NULL || c->port->conf->slow_policy == CONF_CLOSE)
        gives = GIVES_PUSHES;
    else if (conn_replies_queued(c) > 0)
        gives = GIVES_ITSELF;
    else
        return GIVES_NOTHING;
    return gives << GIVES_SHIFT | queued;
}

void conn_account(struct conn *c)
{
    uint64_t all = 0, gift = GIVES_NOTHING, own = 0;

    if (c->state != CONN_CLOSED && conn_is_backlogged(c)) {
        all = conn_queued(c);
        gift = gift_of(c, all);
        own = conn_replies_queued(c);
        if (c->pushes != NULL)
            own += outq_memory(c->pushes);
    }
    if (c->rank.weight == 0)
        c->backlog_since = conn_now(c);
    c->net->own_bytes += own - c->own_bytes;
    c->own_bytes = own;
    ranks_set(&c->net->ranks, &c->rank, all);
    ranks_set(&c->net->gifts, &c->gift, gift);
}

uint64_t conn_backlog_age(const struct conn *c)
{
    return c->rank.weight > 0 ? conn_now(c) - c->backlog_since : 0;
}

uint64_t net_queue_memory(const struct net *n)
{
    return n->own_bytes + n->shared_bytes;
}

bool net_is_over_budget(const struct net *n)
{
    uint64_t budget = n->conf->server.queue_memory;

    return budget > 0 && net_queue_memory(n) > budget;
}

/* Its pushes go; where they are none, or the port closes slow conns, the conn
 * itself: with a word of farewell, if not too much is to be written before. */
static void relieve(struct conn *c)
{
    bool had = c->pushes != NULL;

    if (!conn_is_alive(c)) {
        conn_close_handle(c);
        return;
    }
    conn_drop_pushes(c, PUSH_BUDGET);
    if (!had || c->port->conf->slow_policy == CONF_CLOSE) {
        if (c->is_up && conn_queued(c) <= LAST_WORDS)
            conn_end(c, REASON_SLOW, 0);
        else
            conn_cut(c, REASON_SLOW);
    }
    conn_account(c);
}

static struct conn *next_to_give(const struct net *n)
{
    struct rank *first = ranks_first(&n->gifts);

    if (first == NULL || (first->weight >> GIVES_SHIFT == GIVES_ITSELF &&
                          n->own_bytes <= n->conf->server.queue_memory))
        return NULL;
    return list_entry(first, struct conn, gift);
}

void net_keep_budget(struct net *n)
{
    struct conn *c;

    while (net_is_over_budget(n) && (c = next_to_give(n)) != NULL) {
        conn_account(c); /* it may have dropped some since it was written to */
        if (c == next_to_give(n))
            relieve(c);
    }
}

unsigned net_slowest(const struct net *n, struct conn **out, unsigned max)
{
    struct rank **top = mem_alloc((max + 1) * sizeof(struct rank *));
    unsigned i, found;

    sd_check(n, NET_MAGIC);
    found = ranks_top(&n->ranks, top, max);
    for (i = 0; i < found; i++)
        out[i] = list_entry(top[i], struct conn, rank);
    mem_free(top);
    return found;
}

const struct push_counters *net_push_counters(const struct net *n,
                                              unsigned port)
{
    sd_check(n, NET_MAGIC);
    sd_assert(port < n->nports);
    return &n->ports[port].pushes;
}
