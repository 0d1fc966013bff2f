/* inner.h - what the files of net/ share and nobody else sees. */
#ifndef SD_NET_INNER_H
#define SD_NET_INNER_H

#include <netinet/in.h>
#include <uv.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "codec/chunked.h"
#include "codec/frame.h"
#include "codec/http1.h"
#include "codec/http_date.h"
#include "codec/ws.h"
#include "ipc/tally.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "net/address.h"
#include "net/conn.h"
#include "net/conns.h"
#include "net/format.h"
#include "net/http.h"
#include "net/net.h"
#include "net/outq.h"
#include "net/push.h"
#include "net/ranks.h"

#define NET_MAGIC     0x4e7ac1a0u
#define CONN_MAGIC    0xc0224e10u
#define REQUEST_MAGIC 0x4e90e575u

enum {
    READ_SIZE = 65536,     /* the shared read buffer */
    TAIL_MAX = 16384,      /* a larger rest is read on in place */
    QUEUE_BYTES = 1048576, /* packets of one conn that wait, in bytes */
    POOL_MAX = 128,        /* buffers kept for later */
    POOL_BYTES = 32768,    /* ... none larger than that */
    LINGER_MS = 2000,      /* from our last byte to the end */
    CUT_MS = 30000,        /* what a closing conn may take at most */
    SLOW_CUT_MS = 5000,    /* ... one that is closed for being slow */
    LOOK_MS = 1000,        /* from look to look at a half-closed socket */
};

/* Numbers of the tally. */
enum {
    NET_TALLY_ALL,
    NET_TALLY_PORT, /* and its index */
};

enum conn_state {
    CONN_OPENING, /* on_open() runs: packets wait */
    CONN_OPEN,
    CONN_CLOSING,   /* what was queued is being written */
    CONN_LINGERING, /* all written and shut; the peer's end is awaited */
    CONN_CLOSED,    /* the handle is closing or closed */
};

/* One protocol: how bytes become packets and back. */
struct proto {
    enum conn_protocol name;

    /* Work on `len` bytes; those it returns are used up, the others come
     * again in front of new ones. */
    size_t (*on_input)(struct conn *c, char *p, size_t len);

    /* The conn was looked after at the end of a turn, or all was written. */
    void (*on_work)(struct conn *c);

    /* May more bytes be read?  NULL: when they can be worked on. */
    bool (*may_read)(const struct conn *c);

    /* The peer has sent its last byte and all input was worked on: is
     * nothing left to do for it? */
    bool (*is_done)(const struct conn *c);

    /* c->due has come.  Of an open conn only. */
    void (*on_due)(struct conn *c);

    /* The client was silent for half of and for its whole idle time. */
    void (*on_half_idle)(struct conn *c);
    void (*on_idle)(struct conn *c);

    size_t (*begin)(struct buf *out, struct conn *c);
    int (*seal)(struct buf *out, struct conn *c, size_t start);

    /* The last bytes to a peer whose conn we close. */
    void (*farewell)(struct conn *c, int code);
};

extern const struct proto proto_stream, proto_ws, proto_http;

struct net_port {
    const struct conf_port *conf;
    unsigned index;
    struct format *format; /* of conns accepted now */
    int public_fd;         /* folder of static files, -1: none */
    bool has_cors;         /* origins is more than "same" */
    struct slice *ws_protocols;
    struct push_counters pushes;
};

/* What a uv_write() that could not end at once needs. */
struct conn_write {
    uv_write_t req;
    struct buf data;      /* either this ... */
    struct shared *frame; /* ... or a push */
    size_t size;
    struct conn *conn;
};

struct conn {
    unsigned magic;
    uint8_t state;
    bool is_ready : 1;   /* on net->ready, for the end of the turn */
    bool is_dirty : 1;   /* on net->dirty or ... */
    bool is_bulk : 1;    /* ... net->bulk */
    bool is_reading : 1; /* uv reads */
    bool has_eof : 1;
    bool is_working : 1; /* inside conn_input() */
    bool is_up : 1;      /* on_open() was or will be called */
    bool owes_open : 1;  /* on_open() is to be called */
    bool owes_close : 1; /* on_close() is to be called */
    bool is_half_idle : 1;
    bool had_uid : 1;      /* ... since it was opened: auth_timeout is over */
    bool is_slow : 1;      /* to be closed for it at the end of the turn */
    bool was_slow : 1;     /* and counted so */
    bool is_held : 1;      /* see conn_hold() */
    bool is_leaving : 1;   /* to be closed when its work is done */
    bool is_forgotten : 1; /* it lives on elsewhere, see conn_move.h */
    uint8_t reason;
    uint16_t refs;
    uint16_t goodbye; /* code of a WebSocket's close frame; 0: none yet */
    uv_tcp_t tcp;
    struct net *net;
    struct net_port *port;
    struct format *format;
    const struct proto *proto;
    uint64_t id;
    struct list all, ready, dirty;
    struct timer timer; /* for the nearest of all deadlines */
    struct buf in;      /* bytes that could not be worked on yet */
    struct buf out;     /* bytes to be written */
    struct buf queue;   /* packets that wait: length, bytes ... */
    struct conn_write *write;
    struct outq *pushes; /* that wait amid or behind `out`; NULL: none */
    uint64_t replied;    /* bytes of `out` written since `pushes` began */
    struct rank rank;    /* among all with a backlog, by its bytes */
    struct rank gift;    /* among those that can give some, see gift_of() */
    uint64_t own_bytes;  /* of it but for pushes' frames, as counted in net */
    uint64_t backlog_since;       /* while rank.weight > 0 */
    size_t need;                  /* `in` has no packet below that size */
    size_t scanned;               /* see struct frame */
    struct ws_reader *ws;         /* of a WebSocket */
    struct http_request *request; /* in work or in the upper layer's hands */
    uint64_t last_in;             /* when the client last sent a byte */
    uint64_t bytes;               /* read and written */
    uint32_t packets_in, packets_out; /* and requests and their replies */
    uint64_t opened_at;
    uint64_t due;             /* of proto, a look or closing; 0: none */
    uint64_t slow_at;         /* when the queue last moved; 0: nothing waits */
    size_t slow_left;         /* what it was then */
    uint64_t throttled_until; /* over its rate; 0: not */
    double paid_messages, paid_bytes; /* see conn_rate.c, ms */
    uint32_t waiting;                 /* packets in `queue` */
    uint32_t inflight;
    uint32_t asks;
    uint32_t mark;
    uint32_t send_start;
    uint16_t peer_port;
    bool peer_is_6;
    unsigned char peer[16];
    uint64_t address; /* its key in the tally; 0: not counted */
    char *uid;
    struct slice session;
    void *user;
    char *own_reason;
};

struct net {
    unsigned magic;
    bool is_stopping; /* conns end when their work is done */
    bool is_draining; /* HTTP conns do, and no WebSocket opens */
    bool is_closing;
    bool is_held;     /* see net_hold() */
    int stop_reason;  /* enum reason */
    uint32_t shed_at; /* where net_shed() goes on */
    struct loop *loop;
    const struct conf *conf;
    const struct conn_ops *ops;
    void *arg;
    struct conns *conns;
    struct tally *tally; /* see net.h */
    void *own_tally;     /* memory of it, when this worker is alone */
    struct net_port *ports;
    unsigned nports;
    unsigned alive; /* handles not closed yet */
    unsigned refs;  /* structs that point here */
    struct list all, ready, dirty, doors;
    struct list formats;
    unsigned nformats; /* made so far */
    struct list bulk;  /* only pushes are to be written, see on_flush() */
    struct loop_hook work, flush;
    struct timer accept_pause;
    uint64_t tell_pause_at; /* not before that again */
    struct buf pool[POOL_MAX];
    unsigned npool;
    struct outq_pool outqs;
    struct list requests; /* free ones */
    unsigned nrequests;
    unsigned max_headers; /* room in each */
    struct buf scratch;   /* for one call: header lines, bodies for nobody */
    int64_t date_second;
    char date[HTTP_DATE_LEN + 1];
    struct net_counters counters;
    uint64_t shared_bytes; /* of pushes that wait, each once */
    uint64_t own_bytes;    /* of what else waits, and of the queues */
    struct ranks ranks, gifts;
    char readbuf[READ_SIZE + TAIL_MAX];
};

/* --- net.c ---------------------------------------------------------------- */

void net_unref(struct net *n);
const char *net_date(struct net *n);

/* About to work on what clients sent. */
static inline void net_wake(struct net *n)
{
    if (n->ops->on_wake != NULL)
        n->ops->on_wake(n->arg);
}

/* Buffers of the worker: a conn takes one when it has bytes, gives it back
 * when it has none. */
void net_take_buf(struct net *n, struct buf *b);
void net_give_buf(struct net *n, struct buf *b);

/* Look after `c` at the end of this turn. */
void net_ready(struct conn *c);

/* --- setup.c -------------------------------------------------------------- */

/* Ports as n->conf has them.  0 or a negative code and *why. */
int net_ports_open(struct net *n, const char **why);
void net_ports_close(struct net *n);

/* --- acceptor.c ----------------------------------------------------------- */

void doors_close(struct net *n);

/* --- conn.c --------------------------------------------------------------- */

/* A conn for the accepted descriptor, which is taken. */
void conn_accept(struct net *n, struct net_port *port, int fd,
                 const struct sockaddr_storage *peer);

/* A conn on its way in, for a place that the caller has counted; and what
 * gives the place back. */
struct conn *conn_new(struct net *n, struct net_port *port);
void net_uncount(struct net *n, unsigned port, uint64_t address);

/* Count its address where the port limits it; false: there are `max`. */
bool conn_take_address(struct conn *c, unsigned max);

/* The conn speaks packets from now on: on_open() comes before the turn ends,
 * and so on_close() will come, whatever happens. */
void conn_go_up(struct conn *c);

void conn_end(struct conn *c, int reason, int code);
void conn_cut(struct conn *c, int reason);
void conn_ref(struct conn *c);
void conn_unref(struct conn *c);

void conn_close_handle(struct conn *c);

/* All was written to a conn that closes. */
void conn_shut(struct conn *c);

/* What is left to do for a conn at the end of a turn. */
void conn_work(struct conn *c);

/* --- conn_move.c ---------------------------------------------------------- */

/* Protocol, framing and codec as text: to be the same where a conn moves. */
void conn_put_pack(struct buf *out, const struct format *format,
                   const struct proto *proto);

/* Can a client of this port speak it now? */
bool port_serves(const struct net_port *port, const struct proto *proto);

/* --- conn_read.c ---------------------------------------------------------- */

/* One packet came and was paid for: hand it up, or let it wait. */
void conn_packet(struct conn *c, struct slice packet);
bool conn_may_work(const struct conn *c);
void conn_deliver(struct conn *c);
void conn_resume(struct conn *c);

/* Close a conn whose peer has sent its last byte, when it got its due. */
void conn_finish(struct conn *c);

/* Is a half-closed peer gone for good?  Then cut, else look again later. */
void conn_look(struct conn *c);
void conn_drop_input(struct conn *c);
void conn_update_reading(struct conn *c);

/* --- conn_write.c --------------------------------------------------------- */

/* The place to append what is to be written, queued by conn_queue(). */
struct buf *conn_out(struct conn *c);
/* Bytes that wait to be written of anything but pushes, begun or not. */
uint64_t conn_replies_queued(const struct conn *c);

/* Does more wait than the port's low mark? */
bool conn_is_above_low(const struct conn *c);
void conn_queue(struct conn *c);
void conn_queue_push(struct conn *c);
void conn_flush(struct conn *c);
void conn_drop_output(struct conn *c); /* once, when it is closed */

/* --- conn_push.c ---------------------------------------------------------- */

/* A reply is to be queued: is there room?  Pushes may be dropped for it.  0,
 * SD_EGONE, or SD_ESLOW: the conn is closed. */
int conn_make_room(struct conn *c);

/* Close it at the end of the turn; its pushes go now, for a reason of enum
 * push_drop. */
void conn_too_slow(struct conn *c, int reason);

void conn_drop_pushes(struct conn *c, int reason);

/* Something befalls it for being slow: count it, if it is not yet. */
void conn_was_slow(struct conn *c);

/* Count one that was handed to the socket. */
void push_written(struct conn *c);

/* Its output was written as far as it goes, or dropped. */
void conn_account(struct conn *c);

/* Do all queues together take more than the worker may use? */
bool net_is_over_budget(const struct net *n);

/* Then make those give way who have the most queued. */
void net_keep_budget(struct net *n);

/* --- conn_timer.c --------------------------------------------------------- */

void conn_on_timer(struct timer *t);

/* Bytes on their way to the peer: libuv's, and those that the kernel keeps
 * until they are acknowledged.  The kernel says that it takes more only when
 * a good part of a large buffer is free, so libuv's alone seem stuck. */
size_t conn_unacked(struct conn *c);

/* A deadline was set or moved nearer. */
void conn_arm(struct conn *c);

/* --- conn_rate.c ---------------------------------------------------------- */

static inline bool conn_has_rate(const struct conn *c)
{
    const struct conf_port *conf = c->port->conf;

    return conf->rate_messages > 0 || conf->rate_bytes > 0;
}

/* Bytes of the largest packet, message or request that it may send. */
uint64_t conn_packet_max(const struct conn *c);

/* It has come from elsewhere, so many ms ahead of its rate, but no more than
 * one can be; throttled: it may not send before that has gone down. */
void conn_owe(struct conn *c, double messages, double bytes, bool is_throttled);

/* May no packet come now? */
bool conn_is_over_rate(const struct conn *c);

/* So much came. */
void conn_pay(struct conn *c, unsigned messages, size_t bytes);

/* ... and if the next one may not come yet, do not work on input until it
 * may. */
void conn_charge(struct conn *c, unsigned messages, size_t bytes);

/* --- http.c --------------------------------------------------------------- */

/* The conn closes: a request that nobody above knows goes too. */
void http_on_gone(struct conn *c);

/* --- http_request.c ------------------------------------------------------- */

enum request_state {
    REQUEST_HEAD, /* bytes are missing ... */
    REQUEST_BODY,
    REQUEST_CHUNKS,
    REQUEST_IN_HAND, /* ... none: it was given up */
    REQUEST_STREAM,  /* its answer is on the way, piece by piece */
    REQUEST_FILE,
};

struct http_request {
    unsigned magic;
    uint8_t state;
    bool is_head;
    bool is_handshake;
    bool keep_alive;
    bool is_written; /* http_reply_begin() without its end */
    struct list node;
    struct conn *conn; /* held from REQUEST_IN_HAND on */
    struct http1_head head;
    struct chunked chunked;
    struct slice path, body;
    struct buf own;     /* head and body, unless they lie in the conn's input */
    struct buf chunks;  /* body that came in chunks */
    struct buf decoded; /* path */
    void *user;
    size_t reply;  /* where the reply in place begins in out */
    size_t digits; /* ... its Content-Length */
    size_t text;   /* ... its body */
    int status;
    int file;
    uint64_t file_at, file_left;
    unsigned room; /* in: */
    struct http1_header headers[];
};

struct http_request *request_take(struct conn *c);
void request_give(struct http_request *r); /* not in hand, or just ended */
void requests_free(struct net *n);

/* Its bytes are about to move: keep a copy of them. */
void request_own(struct http_request *r);

/* --- http_reply.c --------------------------------------------------------- */

/* The request is over; the conn goes on to the next, or closes. */
void http_end(struct http_request *r);

/* Status line and headers into the conn's out. */
void http_put_head(struct http_request *r, int status, int64_t length,
                   struct slice type, struct slice lines);

/* An error for a request that could not be read, and the end of the conn. */
void http_refuse(struct conn *c, int status);

/* http_file.c: the next piece of a file, when there is room. */
void http_file_pump(struct http_request *r);
void http_file_end(struct http_request *r);

/* --- ws.c ----------------------------------------------------------------- */

/* A request to the websocket's path: check it and hand it up, or refuse. */
void ws_handshake(struct conn *c, struct http_request *r);

/* Bytes that a message may have on this port. */
uint32_t ws_limit(const struct net_port *port);

/* The conn is a WebSocket from now on. */
void ws_begin_reading(struct conn *c, uint32_t max);

static inline bool conn_is_alive(const struct conn *c)
{
    return c->state == CONN_OPENING || c->state == CONN_OPEN;
}

/* Packets that come now are not taken any more. */
static inline bool conn_is_leaving(const struct conn *c)
{
    return c->is_leaving || c->net->is_stopping;
}

static inline uint64_t conn_now(const struct conn *c)
{
    return loop_now(c->net->loop);
}

#endif
