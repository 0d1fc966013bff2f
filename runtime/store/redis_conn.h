/* redis_conn.h - one connection to a Redis server and the calls on it.
 *
 * Private to store/redis.c.  A connection dials, greets (AUTH, SELECT, PING)
 * and is then open; calls put before that wait inside it.  Replies belong to
 * calls by their order alone, so a connection is never used after a doubt:
 * it is closed and another one is made. */
#ifndef SD_STORE_REDIS_CONN_H
#define SD_STORE_REDIS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/redis.h"
#include "store/redis_url.h"

struct redis_conn;

struct redis_conn_ops {
    /* The server has accepted the greeting. */
    void (*on_open)(void *arg);
    /* The last call in flight is about to get its replies. */
    void (*on_drained)(void *arg);
    /* It broke; `why` is for the log.  It frees itself: forget it.  Its calls
     * end right after this. */
    void (*on_broken)(void *arg, const char *why);
};

/* Borrows url and ops as long as it lives.  `single`: one call at a time; a
 * call that times out takes the connection with it. */
void redis_conn_open(struct redis_conn **out, struct loop *l,
                     const struct redis_url *url, bool single,
                     const struct redis_conn_ops *ops, void *arg);

/* Queue a call; its bytes leave at the end of the turn. */
void redis_conn_put(struct redis_conn *c, const struct redis_call_args *args);

unsigned redis_conn_calls(const struct redis_conn *c); /* commands in flight */
size_t redis_conn_output(const struct redis_conn *c);  /* bytes not written */

/* Drop what is in flight, silently.  Idempotent. */
void redis_conn_close(struct redis_conn **cp);

#endif
