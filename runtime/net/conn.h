/* conn.h - one client connection, whatever it speaks.
 *
 * Made by net/; the upper layer gets it in conn_ops (net.h) and keeps ids, or
 * pointers between on_open() and conn_released().  Calls on a conn that has
 * closed are harmless: they answer SD_EGONE or do nothing. */
#ifndef SD_NET_CONN_H
#define SD_NET_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"

struct conn;
struct conf_port;
struct net;

enum conn_protocol {
    CONN_TCP,
    CONN_WS,
    CONN_HTTP
};

struct net *conn_net(const struct conn *c);
uint64_t conn_id(const struct conn *c);
unsigned conn_port(const struct conn *c); /* index in conf->ports */
const struct conf_port *conn_conf(const struct conn *c);
enum conn_protocol conn_protocol(const struct conn *c);
bool conn_is_open(const struct conn *c);

/* Open only for the answers it is owed: the client has shut its side. */
bool conn_is_half_closed(const struct conn *c);
const char *conn_codec(const struct conn *c); /* of the port or its websocket */

/* The number of the frame and codec it was accepted with. */
unsigned conn_format(const struct conn *c);
const char *conn_route(const struct conn *c);

enum {
    CONN_ADDRESS = 46
};

/* The peer: text of its address into `out` (CONN_ADDRESS bytes, with NUL),
 * returns its port number. */
unsigned conn_peer(const struct conn *c, char *out);

/* --- the order of packets ------------------------------------------------- */

/* on_open()'s work is done: packets come now. */
void conn_opened(struct conn *c);

/* Let its packets wait, also where max_inflight allows another one, or no
 * longer. */
void conn_hold(struct conn *c, bool hold);

/* The handler of one packet has ended.  The next packet comes at the end of
 * the turn, never inside this call. */
void conn_done(struct conn *c);

/* on_close()'s work is done: `c` must not be used any more. */
void conn_released(struct conn *c);

/* Asks waiting for an answer of this client; `by` is 1 or -1. */
void conn_asks_add(struct conn *c, int by);
unsigned conn_asks(const struct conn *c);

/* --- sending -------------------------------------------------------------- */

/* Begin a packet: the bytes appended to *out until commit are its body, to be
 * framed as the conn's port says.  One at a time, and nothing else may be
 * called on the conn in between.
 * SD_EGONE: closed.  SD_ESLOW: too much waits already; with policy close the
 * conn is being closed.  For WebSocket and TCP only. */
int conn_send_begin(struct buf **out, struct conn *c);

/* Seal and queue it; it is written at the end of the turn.  0, or the packet
 * is undone: SD_EINVALID (does not fit the frame, or no UTF-8 for a text),
 * SD_ETOOLARGE. */
int conn_send_commit(struct conn *c);
void conn_send_abort(struct conn *c);

/* All three for finished bytes. */
int conn_send(struct conn *c, struct slice body);

/* Bytes that wait to be written, and for each push that waits what it takes of
 * memory beside them (OUTQ_COST): the port's marks judge by it. */
uint64_t conn_queued(const struct conn *c);

/* Close, once what was queued is written.  `reason` is a word of reason.h or
 * own text (copied, and whole in on_close(); a WebSocket's client is told the
 * start of it, see reason_fit()); `code` is its code, 0: that of the reason.
 * Idempotent: the first reason stays. */
void conn_close(struct conn *c, const char *reason, int code);

/* --- what the upper layer keeps with a conn ------------------------------- */

/* The uid bound to it; len 0: none.  Setting copies, and the first one ends
 * auth_timeout, unless it goes before the handshake is accepted. */
struct slice conn_uid(const struct conn *c);
void conn_set_uid(struct conn *c, struct slice uid);

/* The session as msgpack; len 0: none.  Setting copies. */
struct slice conn_session(const struct conn *c);
void conn_set_session(struct conn *c, struct slice msgpack);

/* A pointer and a number of the upper layer, NULL and 0 at first. */
void *conn_user(const struct conn *c);
void conn_set_user(struct conn *c, void *user);
uint32_t conn_mark(const struct conn *c);
void conn_set_mark(struct conn *c, uint32_t mark);

#endif
