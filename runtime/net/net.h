/* net.h - the conns of one worker: made, found, counted, closed.
 *
 * Bytes come up through one table of functions, struct conn_ops, installed by
 * the upper layer; everything else is a call down (conn.h, http.h).  One net
 * per process, on its loop. */
#ifndef SD_NET_NET_H
#define SD_NET_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/slice.h"
#include "ipc/tally.h"
#include "net/reason.h"

struct loop;
struct net;
struct conn;
struct http_request;

/* All run on the loop, never from inside a call down made by the upper layer
 * (so conn_close() in a handler does not call on_close() there and then). */
struct conn_ops {
    /* A TCP conn was accepted, a WebSocket is open.  Its packets wait until
     * conn_opened(), which may be called inside or later. */
    void (*on_open)(void *arg, struct conn *c);

    /* Bytes have come or packets have waited, and are about to be worked on:
     * the last moment for net_hold().  May be NULL. */
    void (*on_wake)(void *arg);

    /* One packet.  `packet` is borrowed for the call.  conn_done() says that
     * it was handled, inside or later; until then at most max_inflight are
     * given and the rest waits. */
    void (*on_packet)(void *arg, struct conn *c, struct slice packet);

    /* While conn_asks(c) > 0 each arriving packet comes here first; true: it
     * was an answer and is consumed (no conn_done()). */
    bool (*on_answer)(void *arg, struct conn *c, struct slice packet);

    /* A WebSocket wants to open.  The request is one like on_request's: it
     * must end, by conn_ws_accept() or by any answer of http.h (a refusal).
     * What was bound to the conn meanwhile is the upper layer's to undo when
     * it does not open.  May be NULL: every valid handshake is accepted. */
    void (*on_handshake)(void *arg, struct conn *c, struct http_request *r);

    /* An HTTP request with its whole body.  See http.h for how it ends. */
    void (*on_request)(void *arg, struct conn *c, struct http_request *r);

    /* We close a conn that is open, for `reason`: the upper layer may queue a
     * last packet.  Not when the client left, nor for conn_close(), whose
     * caller can send before.  May come inside conn_done().  May be NULL. */
    void (*on_bye)(void *arg, struct conn *c, const char *reason);

    /* The client has shut its side while calls of it run or packets wait:
     * those are still handled and answered, then on_close() comes.  To the
     * rest of the world it is gone.  May be NULL. */
    void (*on_eof)(void *arg, struct conn *c);

    /* Exactly once for every conn that on_open() was called for, when it has
     * closed: gone from net_find(), sends answer SD_EGONE, uid and session
     * are still there until conn_released(), which must come, inside or
     * later; memory goes after it. */
    void (*on_close)(void *arg, struct conn *c, const char *reason);

    /* A push (push.h) that waited for this conn was dropped; `value` is what
     * it was made from, borrowed.  May come inside any call down: only take
     * note.  Not when the conn has closed for another reason than being slow.
     * May be NULL. */
    void (*on_drop)(void *arg, struct conn *c, struct slice value,
                    const char *reason);

    /* Frame type "pack": size of the packet that begins with `head` (not
     * empty), 0: cannot say yet, -1: broken.  May be NULL without such. */
    int64_t (*on_length)(void *arg, const struct conn *c, struct slice head);
};

struct net_config {
    struct loop *loop;
    const struct conf *conf; /* borrowed until net_close() */
    unsigned slot, epoch;
    struct tally *tally; /* of all workers, see net_tally_shape(); borrowed;
                            NULL: this one is alone */
    const struct conn_ops *ops; /* borrowed, as arg is */
    void *arg;
};

/* What a tally must have room for, for this configuration. */
struct tally_shape net_tally_shape(const struct conf *conf);

/* 0 or a negative code (a port that cannot be served), *why static text. */
int net_open(struct net **out, const struct net_config *config,
             const char **why);

/* Another configuration from now on, with ports of the same names, protocols
 * and listeners; borrowed in place of the old one.  Limits and deadlines count
 * at once; frames and codecs for conns that are accepted from now on.  0, or a
 * negative code and *why: then nothing has changed. */
int net_set_conf(struct net *n, const struct conf *conf, const char **why);

/* Call nothing of conn_ops but on_answer(), on_drop() and on_length(), until
 * net_unhold(): what clients send waits meanwhile. */
void net_hold(struct net *n);
void net_unhold(struct net *n);

/* The number of the format that conns of a port are accepted with now, see
 * conn_format(). */
unsigned net_format(const struct net *n, unsigned port);

/* Codecs by which some conn or port speaks; start with *cursor = 0, ends with
 * NULL. */
const char *net_next_codec(const struct net *n, unsigned *cursor);

/* Another upper layer from now on. */
void net_set_ops(struct net *n, const struct conn_ops *ops, void *arg);

/* Serve the listening sockets of `slot`: fds[i] is that of conf->ports[i], -1:
 * none.  Our own slot at start, a neighbour's while it cannot.  Borrows the
 * descriptors until net_release(). */
int net_adopt(struct net *n, unsigned slot, const int *fds);
void net_release(struct net *n, unsigned slot);

/* Take in what is queued at the listeners, then shut them, for all who have
 * them open: from now on clients are refused.  The caller closes the
 * descriptors. */
void net_stop_accepting(struct net *n);

/* Close every conn: idle HTTP conns at once, those with a request when it was
 * answered (with Connection: close), others by conn_close(c, reason, 0) when
 * the packets they have sent so far are handled; later ones are not taken. */
void net_close_conns(struct net *n, const char *reason);

/* The same at the caller's pace.  From net_drain() on no WebSocket opens and
 * HTTP conns close behind their next answer; net_shed() closes up to `max` of
 * the conns, as net_close_conns() would.  Returns how many it found. */
void net_drain(struct net *n, const char *reason);
unsigned net_shed(struct net *n, unsigned max);

/* End: conns left are cut without a word and without on_close().  Memory goes
 * in close callbacks; turn the loop until it is idle.  Requests and conns
 * still held by the upper layer must have been given back before. */
void net_close(struct net **np);

/* The conn of an id, or NULL when it is gone. */
struct conn *net_find(struct net *n, uint64_t id);

/* Conns that are open and speak packets (no plain HTTP), in no order: start
 * with *cursor = 0; ends with NULL.  Closing conns meanwhile is fine. */
struct conn *net_next(struct net *n, uint32_t *cursor);

struct net_counters {
    uint64_t accepted, refused;   /* refused: over a limit */
    uint64_t moved_in, moved_out; /* see conn_move.h */
    uint64_t packets_in, packets_out, requests;
    uint64_t bytes_in, bytes_out;
    uint64_t reads, writes; /* system calls */
    uint64_t closed[REASON_COUNT];
};

const struct net_counters *net_counters(const struct net *n);
unsigned net_conns(const struct net *n);                     /* open now */
unsigned net_port_conns(const struct net *n, unsigned port); /* of one port */

#endif
