/* sim.h - a world of workers, relays, links, uids and messages. */
#ifndef SD_DELIVER_SIM_H
#define SD_DELIVER_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/hub.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"

enum {
    WORKERS = 8,
    RELAYS = 4,
    UIDS = 6,
    TOPICS = 3,
    CHANS = 4096,
    CONNS = 4096,
    MESSAGES = 8192,
    TAKERS = 24,
    WINDOW_MOST = 64, /* the limits, of which each takes some */
    KEPT_MOST = 400,
    SEEN_MOST = 512,
    HUB_UIDS_MOST = 8,
    MS = 1000,              /* of virtual microseconds */
    CALM = 2500 * MS,       /* a subscription is known everywhere */
    KNOWN = 6000 * MS,      /* everybody alive has had a link meanwhile */
    SILENCE = 3000 * MS,    /* after which a link is given up */
    ROUNDED = 4 * MS,       /* of a life that is counted in ms, down */
    QUIET = 200 * 1000 * MS /* after the faults, until all has to be over */
};

enum mutation {
    NONE,
    CHAIN,   /* no message names the one before it */
    TERM,    /* copies never grow stale */
    AGAIN,   /* receivers do not look for doubles */
    BASE,    /* ids are forgotten at once */
    PERHAPS, /* a relay says "not here" of what it has lost */
    ACKED,   /* a relay says "delivered" of what it has lost */
    COVERED, /* publishes rely on no COVER */
    LIFE,    /* what waits in a link grows no older */
    MUTATIONS
};

struct chan { /* a link between a worker and a relay, once open */
    bool worker_open, relay_open, is_broken;
    unsigned w, r;
    struct outbox_link *out;
    struct inbox_link *in;
    struct hub_link *hub;
    uint64_t last[2], cut[2]; /* arrival, of both directions */
    uint64_t slow_until;
    uint64_t held_until; /* a relay that stood still reads it then */
    uint32_t losses;     /* that the relay has told */
};

struct worker {
    struct place place;
    bool is_alive, holds_few;
    uint64_t frozen_until, born, counter;
    struct outbox *out;
    struct inbox *in;
    int chan[RELAYS];  /* -1: none */
    uint64_t linkless; /* since when it has no link; 0: it has one */
    uint64_t linkless_most;
    uint64_t since[TOPICS]; /* subscribed; 0: not */
};

struct relay {
    bool is_alive;
    uint64_t id, frozen_until;
    struct hub *hub;
};

struct conn {
    bool is_open;
    unsigned uid, w, epoch;
    uint64_t bind;
    uint64_t last[WORKERS][64]; /* counter by sender and its epoch */
    uint64_t mark[WORKERS][64]; /* what it had got before it moved */
};

struct entry { /* of the truth */
    unsigned w, epoch, conn;
    uint64_t bind;
};

struct uid {
    char name[16];
    struct entry at[64];
    unsigned count;
    uint64_t bind;
};

enum kind {
    TO_UID,
    TO_PLACE,
    TO_TOPIC
};

struct message {
    enum kind kind;
    unsigned w, epoch, to, to_epoch;
    uint64_t counter, sent_at, settled_at, life;
    unsigned outcomes, takers;
    int outcome;
    unsigned taker[TAKERS]; /* conns, or workers and epochs */
    bool sender_died;
    bool expects[WORKERS]; /* of a publish */
};

enum event_type {
    FRAME,
    NOTICE,
    CONNECT,
    TICK,
    SEND,
    MOVE,
    BREAK,
    KILL_WORKER,
    START_WORKER,
    KILL_RELAY,
    START_RELAY,
    FREEZE,
    FREEZE_RELAY,
    SILENT,
    SLOW,
    OUTAGE,
    RESOLVED,
    SETTLE,
    CLOSE_CONN,
    FORGET,
    TELL,
    HOP,
    SUBSCRIBE
};

struct event {
    uint64_t at, order;
    enum event_type type;
    unsigned a, b, c;
    uint64_t n;
    uint64_t written; /* of a frame */
    char *bytes;
    size_t len;
};

struct world {
    uint64_t now, random, hash, orders, end;
    struct event *heap;
    size_t events, room;
    struct worker worker[WORKERS];
    struct relay relay[RELAYS];
    struct chan *chan;
    struct conn *conn;
    struct uid uid[UIDS];
    struct message *message;
    unsigned workers, relays, uids, chans, conns, messages, senders;
    unsigned faults; /* out of 100 */
    bool is_sole, floods, has_outage, is_quiet;
    bool members_err; /* they say that a living node has ended */
    uint64_t bad_until;
    uint64_t still_from, still_until; /* of some relay */
    uint64_t relay_ids, wrongs;
    struct hash_key key;
};

struct totals {
    uint64_t sent, delivered, refused, unknown_done, unknown_not, died, moved,
        busy, publishes, missed, frames, again, doubles, gaps, stale, lost,
        forgotten, wrong;
};

extern struct world *world;
extern struct totals totals;
extern enum mutation mutation;
extern uint64_t mutated; /* frames */
extern uint64_t traced;  /* a message, or UINT64_MAX */

/* world.c - chance, notes, and events in their order */
uint64_t rnd(void);
unsigned below(unsigned n);
bool chance(unsigned percent);
void note(uint64_t x); /* into the hash */
__attribute__((format(printf, 1, 2))) void wrong(const char *fmt, ...);
void trace(const char *what, uint64_t message, unsigned a, unsigned b);
void trace_link(const char *what, const struct chan *c);
void trace_frame(const char *what, const struct chan *c, unsigned type,
                 struct slice p);
void push(struct event e);
struct event pop(void);
void after(uint64_t us, enum event_type type, unsigned a, unsigned b,
           unsigned c, uint64_t n);
uint64_t now_ms(void);

/* links.c - links, and what happens to frames on them */
void put32(char *p, uint32_t x);
void chan_send(struct chan *c, unsigned dir, unsigned type,
               const struct slice *v, unsigned n);
void worker_emit(void *arg, void *relay, unsigned type, const struct slice *v,
                 unsigned n);
void relay_emit(void *arg, void *owner, unsigned type, const struct slice *v,
                unsigned n);
void tell_interest(struct chan *c, enum frames_op op, unsigned topic);
void connect_to(unsigned w, unsigned r);
void tell_all(struct chan *c);
void close_worker_end(struct chan *c);
void close_relay_end(struct chan *c);
void break_chan(struct chan *c);
void give_up_chan(struct chan *c);

/* ledger.c - what became of each message */
void taken(struct message *m, unsigned by);
void take_on_conn(struct conn *c, struct message *m);
void settled(void *arg, uint64_t token, int outcome);
void judge_all(void);

/* people.c - conns, uids, the truth about them, and who takes messages */
bool has_uid(void *arg, const struct slice *name);
int deliver(void *arg, const struct frames_data *d, uint64_t token);
void forget_conn(unsigned i);
void close_conn(unsigned i);
void open_conn(unsigned uid, unsigned w);
void hop_some(unsigned uid);
void move_uid(unsigned uid);
bool lives(void *arg, const struct place *place);
void resolve(void *arg, const struct slice *name);
void resolved(const struct event *e);

/* life.c - workers and relays, and what workers do */
void send_some(unsigned w);
void subscribe(unsigned w);
void start_worker(unsigned w);
void end_worker(unsigned w);
void kill_worker(unsigned w);
void start_relay(unsigned r);
void end_relay(unsigned r);
void kill_relay(unsigned r);
void freeze_worker(unsigned w);
void freeze_relay(unsigned r);

/* faults.c */
unsigned whom(enum event_type type);
void again_later(const struct event *e);
void end_silent(const struct event *e);
void fault(const struct event *e);

#endif
