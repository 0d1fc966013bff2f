/* redis_conn.c - see redis_conn.h.
 *
 * The parser and the protocol are hiredis'; sockets and calls are our own.
 * hiredis' asynchronous context would keep one callback a command but knows
 * no deadlines, resolves names while everything waits, and cannot tell which
 * commands were never written, which is the difference between "not done" and
 * "perhaps done" here.
 *
 * Two counters of bytes tell that: `queued` is the place in the stream where
 * the next command begins, `written` how far the kernel has taken it.
 *
 * A call whose deadline passes is answered and stays in line as a dead one,
 * to take up its reply when that comes.  A dead call at the head of the line
 * and a server that says nothing for REDIS_OVERDUE_MS more: it hangs, and the
 * connection is given up. */
#include "store/redis_conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "loop/pollfd.h"
#include "loop/timer.h"
#include "store/dial.h"
#include "store/redis_greeting.h"
#include "store/redis_reader.h"

#define CONN_MAGIC 0x4ed15c01u
#define CALL_MAGIC 0x4ed15ca1u

enum {
    READ_SIZE = 64 * 1024,
    READS_MAX = 16,           /* in one turn, so that others get theirs */
    KEEP_OUTPUT = 256 * 1024, /* memory an emptied output keeps */
    WHY_MAX = 200
};

enum conn_state {
    CONN_DIALING,
    CONN_GREETING,
    CONN_OPEN,
    CONN_CLOSED
};

struct call {
    unsigned magic;
    struct list node; /* in the connection's line */
    struct redis_conn *conn;
    struct timer timer;
    redis_done_fn *done; /* NULL: dead, nobody waits any more */
    void *arg;
    uint64_t tag;
    uint64_t begin; /* place of its first byte in the stream */
    unsigned want, got;
    redisReply **replies;
    redisReply *one[1]; /* what `replies` is for the usual single command */
};

struct redis_conn {
    unsigned magic;
    enum conn_state state;
    struct loop *loop;
    const struct redis_url *url;
    const struct redis_conn_ops *ops;
    void *arg;
    bool single;
    bool blocked;     /* the socket takes no more for now */
    unsigned entered; /* callbacks of ours on the C stack */
    struct redis_greeting greeting;
    struct dial *dial;
    int fd;
    struct pollfd_watch *watch;
    struct loop_hook hook;
    struct timer timer; /* to open within; then to watch over silence */
    struct redis_reader reader;
    struct buf out;
    uint64_t queued, written;
    uint64_t heard; /* when the server last sent anything */
    struct list line;
    unsigned ncommands;
};

/* --- calls --------------------------------------------------------------- */

static void call_free(struct redis_conn *c, struct call *call)
{
    unsigned i;

    for (i = 0; i < call->got; i++)
        freeReplyObject(call->replies[i]);
    if (call->replies != call->one)
        mem_free(call->replies);
    timer_stop(c->loop, &call->timer);
    list_del(&call->node);
    c->ncommands -= call->want;
    call->magic = 0;
    mem_free(call);
}

static void call_end(struct call *call, int err)
{
    redis_done_fn *done = call->done;

    call->done = NULL;
    if (done != NULL)
        done(call->arg, call->tag, err, err == 0 ? call->replies : NULL,
             err == 0 ? call->got : 0);
}

static struct call *head_of(struct redis_conn *c)
{
    return list_empty(&c->line) ? NULL
                                : list_entry(c->line.next, struct call, node);
}

/* --- the end ------------------------------------------------------------- */

static void enter(struct redis_conn *c)
{
    c->entered++;
}

static void leave(struct redis_conn *c)
{
    if (--c->entered > 0 || c->state != CONN_CLOSED)
        return;
    redis_reader_fini(&c->reader);
    buf_fini(&c->out);
    c->magic = 0;
    mem_free(c);
}

static void hang_up(struct redis_conn *c)
{
    c->state = CONN_CLOSED;
    dial_close(&c->dial);
    loop_hook_del(&c->hook);
    timer_stop(c->loop, &c->timer);
    pollfd_close(&c->watch);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* The head of the line ends with `err`, unless nothing of it was sent; the
 * others were never the reason. */
static void break_off(struct redis_conn *c, int err, const char *why)
{
    struct call *call;

    if (c->state == CONN_CLOSED)
        return;
    enter(c);
    hang_up(c);
    c->ops->on_broken(c->arg, why);
    while ((call = head_of(c)) != NULL) {
        call_end(call, call->begin >= c->written ? SD_EUNAVAILABLE : err);
        call_free(c, call);
        err = SD_ECLOSED;
    }
    leave(c);
}

void redis_conn_close(struct redis_conn **cp)
{
    struct redis_conn *c = *cp;
    struct call *call;

    if (c == NULL)
        return;
    sd_check(c, CONN_MAGIC);
    *cp = NULL;
    enter(c);
    hang_up(c);
    while ((call = head_of(c)) != NULL)
        call_free(c, call);
    leave(c);
}

/* --- output -------------------------------------------------------------- */

static void flush(struct redis_conn *c)
{
    char why[WHY_MAX];

    while (c->out.len > 0) {
        struct slice s = buf_slice(&c->out);
        ssize_t n = send(c->fd, s.p, s.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            snprintf(why, sizeof(why), "write: %s", err_str(-errno));
            break_off(c, SD_ECLOSED, why);
            return;
        }
        if (n > 0) {
            buf_consume(&c->out, (size_t)n);
            c->written += (uint64_t)n;
        }
        if (n < 0 || (size_t)n < s.len)
            break;
    }
    c->blocked = c->out.len > 0;
    pollfd_want_write(c->watch, c->blocked);
    if (c->out.len == 0 && c->out.cap > KEEP_OUTPUT)
        buf_fini(&c->out);
}

/* True when it broke: calls have ended, their callers may have made work. */
static bool on_turn(struct loop_hook *hook)
{
    struct redis_conn *c = list_entry(hook, struct redis_conn, hook);
    bool broke;

    sd_check(c, CONN_MAGIC);
    if (c->out.len == 0 || c->blocked)
        return false;
    enter(c);
    flush(c);
    broke = c->state == CONN_CLOSED;
    leave(c);
    return broke;
}

/* --- greeting ------------------------------------------------------------ */

static void greet(struct redis_conn *c)
{
    struct buf out = {0};
    ssize_t n;

    redis_greeting_begin(&c->greeting, c->url, &out);
    n = send(c->fd, buf_slice(&out).p, out.len, MSG_NOSIGNAL);
    if (n < 0 || (size_t)n != out.len)
        break_off(c, SD_ECLOSED, "the greeting could not be sent");
    buf_fini(&out);
}

static void on_greeting(struct redis_conn *c, redisReply *reply)
{
    char why[WHY_MAX];
    int rc = redis_greeting_take(&c->greeting, reply, why, sizeof(why));

    freeReplyObject(reply);
    if (rc < 0)
        break_off(c, SD_ECLOSED, why);
    if (rc <= 0)
        return;
    c->state = CONN_OPEN;
    timer_stop(c->loop, &c->timer);
    loop_hook_add(c->loop, &c->hook);
    c->ops->on_open(c->arg);
}

/* --- input --------------------------------------------------------------- */

static void on_reply(struct redis_conn *c, redisReply *reply)
{
    struct call *call = head_of(c);

    if (call == NULL || call->begin >= c->written) {
        freeReplyObject(reply);
        break_off(c, SD_ECLOSED, "a reply that nobody asked for");
        return;
    }
    call->replies[call->got++] = reply;
    if (call->got < call->want)
        return;
    list_del(&call->node);
    timer_stop(c->loop, &call->timer);
    redis_reader_forget(&c->reader);
    if (list_empty(&c->line))
        c->ops->on_drained(c->arg);
    call_end(call, 0);
    call_free(c, call);
}

static void take_replies(struct redis_conn *c)
{
    redisReply *reply = NULL;
    const char *why = "";
    int err = 0;

    while (c->state != CONN_CLOSED) {
        err = redis_reader_next(&c->reader, &reply, &why);
        if (err < 0 || reply == NULL)
            break;
        if (c->state == CONN_OPEN)
            on_reply(c, reply);
        else
            on_greeting(c, reply);
        reply = NULL;
    }
    if (err == SD_ETOOLARGE)
        break_off(c, SD_ETOOLARGE, "a reply is over the limit");
    else if (err < 0)
        break_off(c, SD_ECLOSED, why);
}

/* One read; false when there is nothing more for now. */
static bool read_once(struct redis_conn *c)
{
    static char bytes[READ_SIZE];
    char why[WHY_MAX];
    ssize_t n = read(c->fd, bytes, sizeof(bytes));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        snprintf(why, sizeof(why), "%s",
                 n == 0 ? "closed by the server" : err_str(-errno));
        break_off(c, SD_ECLOSED, why);
        return false;
    }
    c->heard = loop_now(c->loop);
    if (redis_reader_feed(&c->reader, bytes, (size_t)n) < 0) {
        break_off(c, SD_ETOOLARGE, "a reply is over the limit");
        return false;
    }
    take_replies(c);
    return c->state != CONN_CLOSED && (size_t)n == sizeof(bytes);
}

static void on_ready(void *arg)
{
    struct redis_conn *c = arg;
    int i = 0;

    sd_check(c, CONN_MAGIC);
    enter(c);
    if (c->blocked)
        flush(c);
    while (c->state != CONN_CLOSED && i < READS_MAX && read_once(c))
        i++;
    leave(c);
}

static void on_dialed(void *arg, int fd)
{
    struct redis_conn *c = arg;
    int err;

    sd_check(c, CONN_MAGIC);
    enter(c);
    dial_close(&c->dial);
    if (fd < 0) {
        break_off(c, SD_ECLOSED, err_str(fd));
    } else {
        c->fd = fd;
        c->state = CONN_GREETING;
        err = pollfd_open(&c->watch, c->loop, fd, on_ready, c);
        if (err < 0)
            break_off(c, SD_ECLOSED, err_str(err));
        else
            greet(c);
    }
    leave(c);
}

/* --- time ---------------------------------------------------------------- */

static void on_timer(struct timer *timer)
{
    struct redis_conn *c = list_entry(timer, struct redis_conn, timer);
    struct call *head = head_of(c);
    uint64_t now = loop_now(c->loop), since;

    sd_check(c, CONN_MAGIC);
    if (c->state != CONN_OPEN) {
        break_off(c, SD_ECLOSED, "no answer in time");
        return;
    }
    if (head == NULL || head->done != NULL)
        return;
    since = head->timer.due > c->heard ? head->timer.due : c->heard;
    if (now >= since + REDIS_OVERDUE_MS)
        break_off(c, SD_ECLOSED, "the server does not answer any more");
    else
        timer_start(c->loop, &c->timer, since + REDIS_OVERDUE_MS - now);
}

static void on_call_timer(struct timer *timer)
{
    struct call *call = list_entry(timer, struct call, timer);
    struct redis_conn *c = call->conn;

    sd_check(call, CALL_MAGIC);
    enter(c);
    if (c->single)
        break_off(c, SD_ETIMEOUT, "a call has timed out");
    else
        call_end(call, SD_ETIMEOUT);
    if (c->state == CONN_OPEN && !timer_is_on(&c->timer))
        timer_start(c->loop, &c->timer, REDIS_OVERDUE_MS);
    leave(c);
}

/* --- the public calls ---------------------------------------------------- */

void redis_conn_open(struct redis_conn **out, struct loop *l,
                     const struct redis_url *url, bool single,
                     const struct redis_conn_ops *ops, void *arg)
{
    struct redis_conn *c = mem_zalloc(sizeof(*c));

    c->magic = CONN_MAGIC;
    c->state = CONN_DIALING;
    c->loop = l;
    c->url = url;
    c->single = single;
    c->ops = ops;
    c->arg = arg;
    c->fd = -1;
    list_init(&c->line);
    redis_reader_init(&c->reader, REDIS_REPLY_MAX);
    c->hook.fn = on_turn;
    c->hook.rank = LOOP_FLUSH;
    c->timer.fn = on_timer;
    timer_start(l, &c->timer, REDIS_CONNECT_MS);
    dial_open(&c->dial, l, (struct dial_to){url->path, url->host, url->port},
              on_dialed, c);
    *out = c;
}

void redis_conn_put(struct redis_conn *c, const struct redis_call_args *args)
{
    struct call *call = mem_zalloc(sizeof(*call));

    sd_check(c, CONN_MAGIC);
    sd_assert(c->state != CONN_CLOSED && args->n > 0);
    sd_assert(!c->single || list_empty(&c->line));
    call->magic = CALL_MAGIC;
    call->conn = c;
    call->done = args->done;
    call->arg = args->arg;
    call->tag = args->tag;
    call->want = args->n;
    call->replies = call->one;
    if (args->n > 1)
        call->replies = mem_alloc(args->n * sizeof(redisReply *));
    call->begin = c->queued;
    call->timer.fn = on_call_timer;
    if (args->timeout > 0)
        timer_start(c->loop, &call->timer, args->timeout);
    buf_append(&c->out, args->bytes.p, args->bytes.len);
    c->queued += args->bytes.len;
    c->ncommands += args->n;
    list_add(&c->line, &call->node);
}

unsigned redis_conn_calls(const struct redis_conn *c)
{
    sd_check(c, CONN_MAGIC);
    return c->ncommands;
}

size_t redis_conn_output(const struct redis_conn *c)
{
    sd_check(c, CONN_MAGIC);
    return c->out.len;
}
