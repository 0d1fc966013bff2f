/* redis.h - one configured Redis server, as one process sees it.
 *
 * All commands go over one pipelined connection, opened by the first of them;
 * what a turn of the loop makes leaves in one write, at the turn's end.  When
 * the connection breaks it is made again, after 50 ms to 5 s; meanwhile calls
 * fail at once.  Blocking commands take connections of their own, from a
 * small pool.
 *
 * A call is one or several whole commands and ends exactly once: with all its
 * replies, or with
 *     SD_EUNAVAILABLE  no connection; nothing of it was sent
 *     SD_ETIMEOUT      its time is over; perhaps done, a late reply is dropped
 *     SD_ECLOSED       the connection broke after it was sent; perhaps done
 *     SD_ETOOLARGE     the replies are over REDIS_REPLY_MAX; done
 * A reply is never matched to another call. */
#ifndef SD_STORE_REDIS_H
#define SD_STORE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct loop;
struct redis;
struct redisReply;

enum {
    REDIS_CALLS_MAX = 65536,     /* commands without a reply */
    REDIS_WAITING_MAX = 10000,   /* of these before the first connect */
    REDIS_OUTPUT_MAX = 64 << 20, /* bytes not yet written */
    REDIS_REPLY_MAX = 64 << 20,  /* bytes of memory, replies of one call */
    REDIS_OWN_MAX = 64,          /* connections for blocking commands */
    REDIS_CONNECT_MS = 3000,     /* name, connect and greeting together */
    REDIS_OVERDUE_MS = 2000,     /* silence behind a deadline: it hangs */
    REDIS_BACKOFF_MIN_MS = 50,
    REDIS_BACKOFF_MAX_MS = 5000,
    REDIS_IDLE_MS = 30000 /* of a connection in the pool */
};

/* The end of a call.  `err` is 0 and replies[0..n-1] are there, borrowed, an
 * error reply being a reply; or it is one of the codes above and n is 0. */
typedef void redis_done_fn(void *arg, uint64_t tag, int err,
                           struct redisReply **replies, unsigned n);

struct redis_call_args {
    struct slice bytes; /* `n` commands in Redis's protocol; borrowed */
    unsigned n;         /* replies to expect, at least 1 */
    bool own;           /* it may block: on a connection of its own */
    uint64_t timeout;   /* ms until SD_ETIMEOUT; 0: waits as long as it takes */
    redis_done_fn *done; /* never called before redis_call() returns */
    void *arg;           /* kept until the call ends */
    uint64_t tag;
};

/* Nothing is connected yet.  `url` as in store/redis_url.h, `embedded` the
 * path that "embedded" means, or NULL.  Copies all texts.  0, or SD_EINVALID
 * with *why, a constant that says what is wrong with the url. */
int redis_open(struct redis **out, struct loop *l, const char *name,
               const char *url, const char *embedded, const char **why);

/* Would such a call be taken now?  0, SD_EUNAVAILABLE, SD_EBUSY (a queue is
 * full) or SD_ETOOLARGE (over REDIS_OUTPUT_MAX). */
int redis_check(const struct redis *r, size_t bytes, unsigned n, bool own);

/* As redis_check(); after 0 the call ends by one `done`. */
int redis_call(struct redis *r, const struct redis_call_args *args);

/* A blocking call nobody waits for any more: its connection is closed, so
 * that Redis hands its element to somebody else.  No `done` comes. */
void redis_abandon(struct redis *r, uint64_t tag);

/* Calls in flight end without `done`; nothing of it is called any more.  Not
 * to be called from inside `done`. */
void redis_close(struct redis **rp);

#endif
