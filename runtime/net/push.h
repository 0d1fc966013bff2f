/* push.h - what is sent unasked: one frame for many conns, kept in their
 * queues as a reference, dropped for those that do not read.
 *
 * Unlike replies (conn_send()), a push to a slow conn follows the port's
 * slow_client.policy.  Order between pushes and replies of a conn is kept. */
#ifndef SD_NET_PUSH_H
#define SD_NET_PUSH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "net/shared.h"

struct conn;
struct net;

/* Why a push was not written. */
enum push_drop {
    PUSH_NEW,      /* above high, policy drop_new */
    PUSH_OLD,      /* above high, policy drop_old: the oldest waiting */
    PUSH_SLOW,     /* its conn was closed for being slow */
    PUSH_VOLATILE, /* above low, and not worth waiting */
    PUSH_BUDGET,   /* server.queue_memory is used up */
    PUSH_GONE,     /* its conn has closed for another reason */
    PUSH_REPLACED, /* a newer one with the same key took its place */
    PUSH_DROPS
};

const char *push_drop_word(int reason);

/* One push in the making.  Opened by zeroing; used again for the next one
 * after push_end(). */
struct push {
    struct buf frame;
    struct slice value; /* msgpack of it, borrowed until push_end() */
    uint64_t key;       /* hash of what it is conflated by; 0: nothing */
    bool is_volatile;   /* not for conns above low */
    bool is_single;     /* for one conn, or hardly more */
    struct shared *kept;
};

/* Frame `body` as the port and protocol of `like` want it, for all conns of
 * the same two.  0, SD_EINVALID, SD_ETOOLARGE, SD_EREFUSED (plain HTTP). */
int push_frame(struct push *p, struct conn *like, struct slice body);

/* Queue it for one conn.  0, also when it replaced another; SD_EGONE;
 * SD_ESLOW: dropped and counted, on_drop() is not called for it.  Of a port's
 * counters all but SD_EGONE and SD_EREFUSED are accepted. */
int conn_push(struct conn *c, struct push *p);

void push_end(struct push *p);
void push_fini(struct push *p);

/* Does the conn take no more for now? */
bool conn_is_backlogged(const struct conn *c);

/* Must what is no reply be pushed, not sent?  While nothing waits, a conn that
 * is closed for being slow, for pushes as for replies, need not tell them
 * apart; others would be closed for what should be dropped. */
bool conn_needs_push(const struct conn *c);

/* Milliseconds since when; 0: it does not. */
uint64_t conn_backlog_age(const struct conn *c);

/* The conns with the most queued, at most `max`; how many. */
unsigned net_slowest(const struct net *n, struct conn **out, unsigned max);

/* Memory of all queues, judged by server.queue_memory. */
uint64_t net_queue_memory(const struct net *n);

/* Of one port: accepted is always written, dropped and waiting together. */
struct push_counters {
    uint64_t accepted;
    uint64_t written; /* handed to the socket, at least a part of it */
    uint64_t waiting; /* now, in the queues of open conns */
    uint64_t dropped[PUSH_DROPS];
    uint64_t slow_conns; /* closed for it, or their pushes dropped; once each */
};

const struct push_counters *net_push_counters(const struct net *n,
                                              unsigned port);

#endif
