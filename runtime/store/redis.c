/* redis.c - see redis.h.
 *
 * This file decides when to connect and which connection takes a call; what
 * happens on a connection is redis_conn.c's.
 *
 * Calls made while the very first connect is under way wait for it, inside
 * the connection: at a start everything begins at once, and failing then would
 * be noise.  Later there is no such patience: a server that is away is known
 * to be away, and a caller learns so at once.
 *
 * A connection for blocking commands serves one call at a time.  It goes back
 * into the pool only after its reply; a call given up in between takes its
 * connection along, which also tells Redis not to wait for it any more. */
#include "store/redis.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "store/redis_conn.h"
#include "store/redis_url.h"

#define REDIS_MAGIC 0x4ed15000u

enum {
    WHY_MAX = 240,
    STEADY_MS = 5000 /* up this long: the next loss begins at the shortest */
};

enum redis_state {
    REDIS_NEW,        /* no command yet */
    REDIS_CONNECTING, /* for the first time: calls wait */
    REDIS_UP,
    REDIS_DOWN, /* connecting again, or waiting to: calls fail */
};

/* A connection for blocking commands. */
struct own {
    struct list node;
    struct redis *redis;
    struct redis_conn *conn;
    struct timer idle; /* in the pool for too long */
    bool is_busy;
    uint64_t tag;
};

struct redis {
    unsigned magic;
    enum redis_state state;
    struct loop *loop;
    char *name;
    struct redis_url url;
    struct redis_conn *conn;
    struct timer timer; /* until the next attempt */
    uint64_t backoff, up_since, random;
    char why[WHY_MAX]; /* of the last failure, so that it is logged once */
    struct list own;
    unsigned nown;
};

static void main_open(struct redis *r);

static const char *place_of(const struct redis *r, char *text, size_t size)
{
    if (r->url.path[0] != '\0')
        snprintf(text, size, "%s", r->url.path);
    else
        snprintf(text, size, "%s:%u", r->url.host, r->url.port);
    return text;
}

static void log_failure(struct redis *r, const char *what, const char *why)
{
    char place[REDIS_URL_HOST + 16];

    if (strncmp(r->why, why, sizeof(r->why) - 1) == 0)
        return;
    snprintf(r->why, sizeof(r->why), "%s", why);
    log_warn("redis %s at %s: %s: %s", r->name,
             place_of(r, place, sizeof(place)), what, why);
}

/* --- the connection of all commands -------------------------------------- */

/* xorshift: spreads the processes of a node that lost the same server. */
static uint64_t jitter(struct redis *r, uint64_t n)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random % n;
}

static void connect_later(struct redis *r)
{
    uint64_t ms = r->backoff + jitter(r, r->backoff / 2);

    timer_start(r->loop, &r->timer,
                ms < REDIS_BACKOFF_MAX_MS ? ms : REDIS_BACKOFF_MAX_MS);
    if (r->backoff < REDIS_BACKOFF_MAX_MS)
        r->backoff *= 2;
}

static void main_on_open(void *arg)
{
    struct redis *r = arg;
    char place[REDIS_URL_HOST + 16];

    sd_check(r, REDIS_MAGIC);
    if (r->state == REDIS_DOWN)
        log_info("redis %s at %s: connected", r->name,
                 place_of(r, place, sizeof(place)));
    r->state = REDIS_UP;
    r->up_since = loop_now(r->loop);
    r->why[0] = '\0';
}

static void main_on_broken(void *arg, const char *why)
{
    struct redis *r = arg;
    bool was_up = r->state == REDIS_UP;

    sd_check(r, REDIS_MAGIC);
    r->conn = NULL;
    r->state = REDIS_DOWN;
    if (was_up && loop_now(r->loop) - r->up_since >= STEADY_MS)
        r->backoff = REDIS_BACKOFF_MIN_MS;
    log_failure(r, was_up ? "connection lost" : "cannot connect", why);
    connect_later(r);
}

static void on_nothing(void *arg)
{
    (void)arg;
}

static const struct redis_conn_ops main_ops = {
    .on_open = main_on_open,
    .on_drained = on_nothing,
    .on_broken = main_on_broken,
};

static void main_open(struct redis *r)
{
    redis_conn_open(&r->conn, r->loop, &r->url, false, &main_ops, r);
}

static void on_timer(struct timer *timer)
{
    main_open(list_entry(timer, struct redis, timer));
}

/* --- connections for blocking commands ----------------------------------- */

static void own_free(struct own *own)
{
    struct redis *r = own->redis;

    timer_stop(r->loop, &own->idle);
    redis_conn_close(&own->conn);
    list_del(&own->node);
    r->nown--;
    mem_free(own);
}

static void own_on_broken(void *arg, const char *why)
{
    struct own *own = arg;

    /* Why a connect fails is told by the connection of all commands. */
    (void)why;
    own->conn = NULL;
    own_free(own);
}

static void own_on_drained(void *arg)
{
    struct own *own = arg;

    own->is_busy = false;
    timer_start(own->redis->loop, &own->idle, REDIS_IDLE_MS);
}

static void own_on_idle(struct timer *timer)
{
    own_free(list_entry(timer, struct own, idle));
}

static const struct redis_conn_ops own_ops = {
    .on_open = on_nothing,
    .on_drained = own_on_drained,
    .on_broken = own_on_broken,
};

static struct own *find_idle(const struct redis *r)
{
    struct list *it;

    list_each (it, &r->own) {
        struct own *own = list_entry(it, struct own, node);

        if (!own->is_busy)
            return own;
    }
    return NULL;
}

static struct own *own_take(struct redis *r)
{
    struct own *own = find_idle(r);

    if (own == NULL) {
        own = mem_zalloc(sizeof(*own));
        own->redis = r;
        own->idle.fn = own_on_idle;
        redis_conn_open(&own->conn, r->loop, &r->url, true, &own_ops, own);
        list_add(&r->own, &own->node);
        r->nown++;
    }
    timer_stop(r->loop, &own->idle);
    own->is_busy = true;
    return own;
}

void redis_abandon(struct redis *r, uint64_t tag)
{
    struct list *it;

    sd_check(r, REDIS_MAGIC);
    list_each (it, &r->own) {
        struct own *own = list_entry(it, struct own, node);

        if (own->is_busy && own->tag == tag) {
            own_free(own);
            return;
        }
    }
}

/* --- calls --------------------------------------------------------------- */

int redis_check(const struct redis *r, size_t bytes, unsigned n, bool own)
{
    unsigned max = r->state == REDIS_UP ? REDIS_CALLS_MAX : REDIS_WAITING_MAX;

    sd_check(r, REDIS_MAGIC);
    if (bytes > REDIS_OUTPUT_MAX || n > REDIS_CALLS_MAX)
        return SD_ETOOLARGE;
    if (r->state == REDIS_DOWN)
        return SD_EUNAVAILABLE;
    if (own)
        return r->nown == REDIS_OWN_MAX && find_idle(r) == NULL ? SD_EBUSY : 0;
    if (r->conn == NULL)
        return 0;
    if (redis_conn_calls(r->conn) + n > max ||
        redis_conn_output(r->conn) + bytes > REDIS_OUTPUT_MAX)
        return SD_EBUSY;
    return 0;
}

int redis_call(struct redis *r, const struct redis_call_args *args)
{
    int err = redis_check(r, args->bytes.len, args->n, args->own);

    if (err < 0)
        return err;
    if (r->state == REDIS_NEW) {
        r->state = REDIS_CONNECTING;
        main_open(r);
    }
    if (args->own) {
        struct own *own = own_take(r);

        own->tag = args->tag;
        redis_conn_put(own->conn, args);
    } else {
        redis_conn_put(r->conn, args);
    }
    return 0;
}

int redis_open(struct redis **out, struct loop *l, const char *name,
               const char *url, const char *embedded, const char **why)
{
    struct redis *r = mem_zalloc(sizeof(*r));
    int err = redis_url_parse(&r->url, url, embedded, why);

    if (err < 0) {
        mem_free(r);
        return err;
    }
    r->magic = REDIS_MAGIC;
    r->loop = l;
    r->name = mem_dup(name, strlen(name));
    r->backoff = REDIS_BACKOFF_MIN_MS;
    r->random = clock_ns() | 1;
    r->timer.fn = on_timer;
    list_init(&r->own);
    *out = r;
    return 0;
}

void redis_close(struct redis **rp)
{
    struct redis *r = *rp;

    if (r == NULL)
        return;
    sd_check(r, REDIS_MAGIC);
    *rp = NULL;
    while (!list_empty(&r->own))
        own_free(list_entry(r->own.next, struct own, node));
    timer_stop(r->loop, &r->timer);
    redis_conn_close(&r->conn);
    mem_free(r->name);
    r->magic = 0;
    mem_free(r);
}
