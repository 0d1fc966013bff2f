/* deliver_sim.c - outboxes, hubs and inboxes in virtual time, with faults.
 *
 *   deliver_sim [seeds] [first seed] [mutation] [message]
 *
 * Workers send to uids, places and topics over relays, while links break with
 * bytes under way, each end noticing when it likes, relays and workers die
 * and come back, processes stand still, uids move, and the truth about them
 * cannot be asked.  A ledger judges every message; what breaks the promise is
 * counted as wrong and printed.  The same seed gives the same hash.
 *
 * With the number of a message its way is shown.
 *
 * A mutation changes frames on their way, as if a rule of the protocol did
 * not exist: then the ledger has to find wrong ones, which shows that the rule
 * is needed, and that the simulation would notice.  The first will do. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
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
    MS = 1000,              /* of virtual microseconds */
    CALM = 2500 * MS,       /* a subscription is known everywhere */
    QUIET = 100 * 1000 * MS /* after the faults, until all has to be over */
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
    MUTATIONS
};

static const char *const mutations[MUTATIONS] = {
    "none", "chain", "term", "again", "base", "perhaps", "acked", "covered"};

/* --- the world ------------------------------------------------------------ */

struct chan { /* a link between a worker and a relay, once open */
    bool worker_open, relay_open, is_broken;
    unsigned w, r;
    struct outbox_link *out;
    struct inbox_link *in;
    struct hub_link *hub;
    uint64_t last[2], cut[2]; /* arrival, of both directions */
    uint64_t slow_until;
    uint32_t losses; /* that the relay has told */
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
    uint64_t id;
    struct hub *hub;
};

struct conn {
    bool is_open;
    unsigned uid, w, epoch;
    uint64_t bind;
    uint64_t last[WORKERS][64]; /* counter by sender and its epoch */
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
    uint64_t counter, sent_at, settled_at;
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
    SLOW,
    OUTAGE,
    RESOLVED,
    SETTLE,
    CLOSE_CONN,
    FORGET,
    TELL,
    SUBSCRIBE
};

struct event {
    uint64_t at, order;
    enum event_type type;
    unsigned a, b, c;
    uint64_t n;
    char *bytes;
    size_t len;
};

static struct world {
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
    uint64_t bad_until;
    uint64_t relay_ids, wrongs;
    struct hash_key key;
} * world;

static enum mutation mutation;
static uint64_t traced = UINT64_MAX; /* a message */
static uint64_t mutated;

static struct totals {
    uint64_t sent, delivered, refused, unknown_done, unknown_not, died, moved,
        busy, publishes, missed, frames, again, doubles, gaps, stale, lost,
        forgotten, wrong;
} totals;

static uint64_t rnd(void)
{
    uint64_t x = world->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static unsigned below(unsigned n)
{
    return (unsigned)(rnd() % n);
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

static void note(uint64_t x)
{
    world->hash = (world->hash ^ x) * UINT64_C(0x100000001b3);
}

__attribute__((format(printf, 1, 2))) static void wrong(const char *fmt, ...)
{
    va_list ap;

    totals.wrong++;
    if (world->wrongs++ > 3 || mutation != NONE)
        return;
    printf("wrong at %.3f ms: ", (double)world->now / MS);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

static void trace(const char *what, uint64_t message, unsigned a, unsigned b)
{
    if (message == traced)
        printf("%.3f ms: %s %u %u\n", (double)world->now / MS, what, a, b);
}

static void trace_frame(const char *what, const struct chan *c, unsigned type,
                        struct slice p)
{
    struct frames_data d;
    uint32_t index;

    if (traced == UINT64_MAX)
        return;
    if (!frames_is_data(type) || frames_read_data(&d, type, p) < 0)
        return;
    memcpy(&index, d.body.p, sizeof(index));
    if (index == traced)
        printf("%.3f ms: %s on link %u, worker %u, relay %u: flags %u term %u "
               "base %u prev %u spots %u life %u\n",
               (double)world->now / MS, what, (unsigned)(c - world->chan), c->w,
               c->r, d.order.flags, d.order.term, d.order.base_back,
               d.order.prev_back, (unsigned)d.spots.len, d.head.life_ms);
}

/* --- events --------------------------------------------------------------- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void push(struct event e)
{
    size_t i = world->events++;

    if (world->events > world->room) {
        world->room = world->room > 0 ? world->room * 2 : 1024;
        world->heap = realloc(world->heap, world->room * sizeof(e));
    }
    for (; i > 0 && is_before(&e, &world->heap[(i - 1) / 2]); i = (i - 1) / 2)
        world->heap[i] = world->heap[(i - 1) / 2];
    world->heap[i] = e;
}

static struct event pop(void)
{
    struct event top = world->heap[0], e = world->heap[--world->events];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < world->events) {
        if (child + 1 < world->events &&
            is_before(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (!is_before(&world->heap[child], &e))
            break;
        world->heap[i] = world->heap[child];
        i = child;
    }
    world->heap[i] = e;
    return top;
}

static void after(uint64_t us, enum event_type type, unsigned a, unsigned b,
                  unsigned c, uint64_t n)
{
    push((struct event){world->now + us, ++world->orders, type, a, b, c, n,
                        NULL, 0});
}

static uint64_t now_ms(void)
{
    return world->now / MS;
}

/* --- links ---------------------------------------------------------------- */

static void put32(char *p, uint32_t x)
{
    memcpy(p, &x, 4); /* the machines that simulate are little-endian */
}

/* What a rule would have said is taken away. */
static void mutate_data(char *p)
{
    bool again = (p[0] & FRAMES_AGAIN) != 0;

    if (mutation == CHAIN)
        put32(p + 9, 0);
    else if (mutation == TERM)
        put32(p + 1, 0);
    else if (mutation == AGAIN)
        p[0] = (char)(p[0] & ~FRAMES_AGAIN);
    else if (mutation == BASE)
        put32(p + 5, 0);
    else
        return;
    mutated += again;
}

static bool mutate_nack(char *p, size_t len)
{
    size_t i;

    for (i = 0; i + FRAMES_NACK_SIZE <= len; i += FRAMES_NACK_SIZE) {
        if (mutation == PERHAPS && p[i + 8] == FRAMES_LOST) {
            p[i + 8] = FRAMES_NOT_HERE;
            p[i + 9] = 0;
            mutated++;
        }
    }
    return mutation == ACKED && len == FRAMES_NACK_SIZE && p[8] == FRAMES_LOST;
}

static void mutate(struct chan *c, struct event *e)
{
    if (frames_is_data(e->c))
        mutate_data(e->bytes);
    if (e->c == FRAMES_COVER)
        memcpy(&c->losses, e->bytes + 1, 4);
    if (e->c != FRAMES_NACK || !mutate_nack(e->bytes, e->len))
        return;
    mutated++;
    e->c = FRAMES_ACK;
    e->len = FRAMES_ACK_SIZE;
    e->bytes = realloc(e->bytes, e->len);
    put32(e->bytes + 8, 1);
}

static uint64_t arrival(struct chan *c, unsigned dir)
{
    uint64_t delay = 50 + below(400) + (chance(3) ? below(40 * MS) : 0);

    if (world->now < c->slow_until)
        delay += 100 * MS + below(400 * MS);
    if (c->last[dir] < world->now + delay)
        c->last[dir] = world->now + delay;
    return c->last[dir];
}

/* dir 0: from the worker to the relay. */
static void chan_send(struct chan *c, unsigned dir, unsigned type,
                      const struct slice *v, unsigned n)
{
    struct event e = {.order = ++world->orders,
                      .type = FRAME,
                      .a = (unsigned)(c - world->chan),
                      .b = dir,
                      .c = type};
    unsigned i;

    if (c->is_broken)
        return;
    e.at = arrival(c, dir);
    for (i = 0; i < n; i++)
        e.len += v[i].len;
    e.bytes = malloc(e.len + 1);
    for (i = 0, e.len = 0; i < n; i++) {
        if (v[i].len > 0)
            memcpy(e.bytes + e.len, v[i].p, v[i].len);
        e.len += v[i].len;
    }
    mutate(c, &e);
    trace_frame(dir == 0 ? "to relay" : "to worker", c, type,
                slice_make(e.bytes, e.len));
    push(e);
}

static void worker_emit(void *arg, void *relay, unsigned type,
                        const struct slice *v, unsigned n)
{
    (void)arg;
    chan_send(relay, 0, type, v, n);
}

static void relay_emit(void *arg, void *owner, unsigned type,
                       const struct slice *v, unsigned n)
{
    (void)arg;
    chan_send(owner, 1, type, v, n);
}

static void tell_interest(struct chan *c, enum frames_op op, unsigned topic)
{
    char name[16], payload[32];
    struct frames_interest told = {op, FRAMES_TOPIC, {name, 0}};
    struct slice p = {payload, 0};

    told.name.len = (size_t)snprintf(name, sizeof(name), "t/%u", topic);
    p.len = frames_write_interest(payload, &told);
    chan_send(c, 0, FRAMES_INTEREST, &p, 1);
}

static void check_linkless(struct worker *w)
{
    unsigned r;

    for (r = 0; r < world->relays; r++) {
        if (w->chan[r] >= 0) {
            if (w->linkless > 0 && world->now - w->linkless > w->linkless_most)
                w->linkless_most = world->now - w->linkless;
            w->linkless = 0;
            return;
        }
    }
    if (w->linkless == 0)
        w->linkless = world->now;
}

static void connect_to(unsigned w, unsigned r)
{
    struct worker *me = &world->worker[w];
    struct relay *to = &world->relay[r];
    struct chan *c;

    if (!me->is_alive || me->chan[r] >= 0)
        return;
    if (!to->is_alive || world->chans == CHANS) {
        after((10 + below(200)) * MS, CONNECT, w, r, 0, 0);
        return;
    }
    c = &world->chan[world->chans];
    *c = (struct chan){.worker_open = true,
                       .relay_open = true,
                       .w = w,
                       .r = r,
                       .cut = {UINT64_MAX, UINT64_MAX}};
    me->chan[r] = (int)world->chans++;
    c->out = outbox_open(me->out, c, to->id, now_ms());
    c->in = inbox_open(me->in, c);
    c->hub = hub_open(to->hub, c, &me->place);
    check_linkless(me);
    after(below(30 * MS), TELL, (unsigned)(c - world->chan), 0, 0, 0);
}

static void tell_all(struct chan *c)
{
    unsigned t;

    if (!c->worker_open)
        return;
    for (t = 0; t < TOPICS; t++) {
        if (world->worker[c->w].since[t] > 0)
            tell_interest(c, FRAMES_ADD, t);
    }
    tell_interest(c, FRAMES_COMPLETE, 0);
}

static void close_worker_end(struct chan *c)
{
    struct worker *me = &world->worker[c->w];

    if (!c->worker_open)
        return;
    c->worker_open = false;
    me->chan[c->r] = -1;
    check_linkless(me);
    outbox_close(me->out, c->out, now_ms());
    inbox_close(me->in, c->in);
    after((5 + below(chance(80) ? 50 : 1500)) * MS, CONNECT, c->w, c->r, 0, 0);
}

static void close_relay_end(struct chan *c)
{
    if (!c->relay_open)
        return;
    c->relay_open = false;
    hub_close(world->relay[c->r].hub, c->hub);
    hub_turn(world->relay[c->r].hub);
}

/* Some of what is under way still arrives; each end notices on its own. */
static void break_chan(struct chan *c)
{
    unsigned i;

    if (c->is_broken)
        return;
    c->is_broken = true;
    for (i = 0; i < 2; i++) {
        uint64_t late = chance(20) ? below(2000) : below(60);

        c->cut[i] = world->now + below(chance(80) ? 50 * MS : 2000 * MS);
        after(late * MS, NOTICE, (unsigned)(c - world->chan), i, 0, 0);
    }
}

/* --- the ledger ----------------------------------------------------------- */

static bool is_refusal(int outcome)
{
    return outcome != 0 && outcome != SD_ETIMEOUT && outcome != SD_ECLOSED;
}

static void taken(struct message *m, unsigned by)
{
    unsigned i;

    note(by);
    trace("taken", (uint64_t)(m - world->message), by, 0);
    for (i = 0; i < m->takers && m->kind == TO_TOPIC; i++) {
        if (m->taker[i] == by)
            wrong("publish %u twice at %u", (unsigned)(m - world->message), by);
    }
    if (m->takers < TAKERS)
        m->taker[m->takers++] = by;
    if (m->outcomes > 0 && is_refusal(m->outcome))
        wrong("message %u was reported as %s, and delivered",
              (unsigned)(m - world->message), err_word(m->outcome));
}

static void take_on_conn(struct conn *c, struct message *m)
{
    uint64_t *last = &c->last[m->w][m->epoch % 64];

    if (m->counter <= *last)
        wrong("message %u %s on conn %u", (unsigned)(m - world->message),
              m->counter == *last ? "doubled" : "after a later one",
              (unsigned)(c - world->conn));
    *last = m->counter;
    taken(m, (unsigned)(c - world->conn));
}

static void check_publish(const struct message *m)
{
    unsigned w, i;

    if (world->worker[m->w].holds_few)
        return; /* and some may be dropped too early */
    for (w = 0; w < world->workers; w++) {
        const struct worker *to = &world->worker[w];
        bool has = false;

        if (!m->expects[w] || !to->is_alive || to->born > m->sent_at ||
            to->since[m->to] == 0 || to->since[m->to] > m->sent_at ||
            to->linkless > 0 || to->linkless_most > 2500 * MS ||
            inbox_figures(to->in)->forgotten > 0)
            continue;
        for (i = 0; i < m->takers; i++)
            has |= m->taker[i] == w * 1000 + to->place.epoch;
        if (!has && m->takers < TAKERS)
            wrong("publish %u of worker %u to topic %u missed worker %u",
                  (unsigned)(m - world->message), m->w, m->to, w);
    }
}

static void settled(void *arg, uint64_t token, int outcome)
{
    struct message *m = &world->message[token];

    (void)arg;
    trace("settled", token, (unsigned)-outcome, 0);
    note(token << 16 ^ (uint64_t)-outcome);
    m->outcome = outcome;
    m->settled_at = world->now;
    if (m->outcomes++ > 0)
        wrong("message %u has two outcomes", (unsigned)token);
    if (is_refusal(outcome) && m->takers > 0)
        wrong("message %u was delivered, and reported as %s", (unsigned)token,
              err_word(outcome));
    if (outcome == 0 && m->takers == 0 && m->kind != TO_TOPIC)
        wrong("message %u was reported as delivered and is lost",
              (unsigned)token);
    if (outcome == 0 && m->kind == TO_TOPIC)
        check_publish(m);
}

/* --- receiving ------------------------------------------------------------ */

static unsigned uid_of(struct slice name)
{
    return (unsigned)(name.p[1] - '0');
}

static bool has_conn(unsigned w, unsigned uid)
{
    unsigned i;

    for (i = 0; i < world->conns; i++) {
        const struct conn *c = &world->conn[i];

        if (c->is_open && c->w == w && c->uid == uid)
            return true;
    }
    return false;
}

static bool has_uid(void *arg, const struct slice *name)
{
    return has_conn((unsigned)(uintptr_t)arg, uid_of(*name));
}

static int take_uid(unsigned w, unsigned uid, struct message *m, uint64_t token)
{
    unsigned i;

    if (chance(world->faults > 0 ? 2 : 0))
        return chance(50) ? SD_ESLOW : SD_EBUSY;
    if (chance(1)) { /* it takes a while to fail */
        after(below(300 * MS), SETTLE, w, world->worker[w].place.epoch,
              (unsigned)-SD_ESLOW, token);
        return INBOX_LATER;
    }
    for (i = 0; i < world->conns; i++) {
        struct conn *c = &world->conn[i];

        if (c->is_open && c->w == w && c->uid == uid)
            take_on_conn(c, m);
    }
    if (!chance(5))
        return 0;
    after(below(300 * MS), SETTLE, w, world->worker[w].place.epoch, 0, token);
    return INBOX_LATER;
}

static int deliver(void *arg, const struct frames_data *d, uint64_t token)
{
    unsigned w = (unsigned)(uintptr_t)arg;
    struct worker *me = &world->worker[w];
    struct message *m;
    uint32_t index;

    memcpy(&index, d->body.p, sizeof(index));
    m = &world->message[index];
    if (m->counter != d->head.counter || m->w != d->head.slot)
        wrong("message %u is another", index);
    if (d->type == FRAMES_UID)
        return take_uid(w, uid_of(d->name), m, token);
    if (d->type == FRAMES_PLACE) {
        if (m->to != w || m->to_epoch != me->place.epoch)
            wrong("message %u at the wrong place", index);
        taken(m, w * 1000 + me->place.epoch);
        return 0;
    }
    if (me->since[m->to] > 0)
        taken(m, w * 1000 + me->place.epoch);
    return 0;
}

/* --- where uids are ------------------------------------------------------- */

static void tell_locate(unsigned w, const struct conn *c, bool is_here)
{
    struct worker *me = &world->worker[w];
    struct frames_locate told = {is_here, world->is_sole, c->bind,
                                 slice_str(world->uid[c->uid].name)};
    struct chan *owner = outbox_owner(me->out, told.uid);
    char payload[FRAMES_CONTROL_MAX];
    struct slice p = {payload, frames_write_locate(payload, &told)};
    unsigned r;

    if (world->is_sole && owner != NULL)
        chan_send(owner, 0, FRAMES_LOCATE, &p, 1);
    for (r = 0; r < world->relays && !world->is_sole; r++) {
        if (me->chan[r] >= 0)
            chan_send(&world->chan[me->chan[r]], 0, FRAMES_LOCATE, &p, 1);
    }
}

static void forget_conn(unsigned i)
{
    struct uid *u = &world->uid[world->conn[i].uid];
    unsigned k;

    for (k = 0; k < u->count; k++) {
        if (u->at[k].conn == i)
            u->at[k--] = u->at[--u->count];
    }
}

static void close_conn(unsigned i)
{
    struct conn *c = &world->conn[i];

    if (!c->is_open)
        return;
    c->is_open = false;
    after(below(5 * MS), FORGET, i, 0, 0, 0);
    if (world->worker[c->w].is_alive &&
        c->epoch == world->worker[c->w].place.epoch && !has_conn(c->w, c->uid))
        tell_locate(c->w, c, false);
}

static void open_conn(unsigned uid, unsigned w)
{
    struct uid *u = &world->uid[uid];
    struct conn *c = &world->conn[world->conns];
    unsigned i, epoch = world->worker[w].place.epoch;
    uint64_t bind = now_ms();

    if (!world->worker[w].is_alive || world->conns == CONNS || u->count == 60)
        return;
    u->bind = bind > u->bind ? bind : u->bind + 1;
    *c = (struct conn){
        .is_open = true, .uid = uid, .w = w, .epoch = epoch, .bind = u->bind};
    for (i = 0; world->is_sole && i < world->conns; i++) {
        if (world->conn[i].is_open && world->conn[i].uid == uid)
            after(below(chance(50) ? 3 * MS : 100 * MS), CLOSE_CONN, i, 0, 0,
                  0);
    }
    if (world->is_sole)
        u->count = 0;
    u->at[u->count++] = (struct entry){w, epoch, world->conns++, u->bind};
    tell_locate(w, c, true);
}

static int open_conn_of(unsigned uid)
{
    unsigned start = world->conns > 0 ? below(world->conns) : 0, i;

    for (i = 0; i < world->conns; i++) {
        unsigned k = (start + i) % world->conns;

        if (world->conn[k].is_open && world->conn[k].uid == uid)
            return (int)k;
    }
    return -1;
}

static void move_uid(unsigned uid)
{
    int old = open_conn_of(uid);

    if (old >= 0 && chance(world->is_sole ? 40 : 50)) {
        close_conn((unsigned)old);
        if (chance(60))
            return;
    }
    open_conn(uid, below(world->workers));
}

static void resolve(void *arg, const struct slice *name)
{
    unsigned w = (unsigned)(uintptr_t)arg;
    uint64_t us = 200 + below(chance(90) ? 3 * MS : 200 * MS);

    after(us, RESOLVED, w, world->worker[w].place.epoch, uid_of(*name), 0);
}

static void resolved(const struct event *e)
{
    struct worker *me = &world->worker[e->a];
    struct uid *u = &world->uid[e->c];
    struct frames_spot spots[64];
    struct outbox_places found = {OUTBOX_AT, world->is_sole, 0, spots};
    unsigned n = 0, i, k;

    if (!me->is_alive || me->place.epoch != e->b)
        return;
    if (world->now < world->bad_until) {
        found.found = world->floods ? OUTBOX_FLOOD : OUTBOX_UNAVAILABLE;
        outbox_resolved(me->out, slice_str(u->name), &found, now_ms());
        return;
    }
    for (i = 0; i < u->count; i++) {
        struct place at = world->worker[u->at[i].w].place;

        at.epoch = (uint16_t)u->at[i].epoch;
        for (k = 0; k < n; k++) {
            if (spots[k].place.slot == at.slot &&
                spots[k].place.epoch == at.epoch)
                break;
        }
        if (k == n)
            spots[n++] = (struct frames_spot){at, u->at[i].bind};
        else if (spots[k].bind < u->at[i].bind)
            spots[k].bind = u->at[i].bind;
    }
    found.count = n;
    outbox_resolved(me->out, slice_str(u->name), &found, now_ms());
}

/* --- sending -------------------------------------------------------------- */

static void expect(struct message *m)
{
    unsigned w;

    for (w = 0; w < world->workers; w++) {
        const struct worker *to = &world->worker[w];

        m->expects[w] =
            to->is_alive && to->place.boot != world->worker[m->w].place.boot &&
            to->since[m->to] > 0 && to->since[m->to] + CALM < world->now &&
            to->born + CALM < world->now &&
            world->worker[m->w].born + CALM < world->now;
    }
}

static void send_one(unsigned w, enum kind kind, unsigned to)
{
    struct worker *me = &world->worker[w];
    uint32_t index = world->messages;
    struct message *m = &world->message[index];
    struct wire_head h = {.boot = me->place.boot,
                          .slot = me->place.slot,
                          .epoch = me->place.epoch,
                          .counter = ++me->counter,
                          .life_ms = chance(80) ? 30000 : 20 + below(3000)};
    struct outbox_to dest = {.type = FRAMES_UID,
                             .name = slice_str(world->uid[to % UIDS].name)};
    char body[600] = {0}, topic[16];
    struct slice v = {body, sizeof(index) + below(chance(80) ? 64 : 500)};
    struct outbox_mail mail = {&h, &v, 1, index};
    int rc;

    if (index == MESSAGES)
        return;
    memcpy(body, &index, sizeof(index));
    *m = (struct message){.kind = kind,
                          .w = w,
                          .epoch = me->place.epoch,
                          .to = to,
                          .counter = h.counter,
                          .sent_at = world->now};
    if (kind == TO_PLACE) {
        dest = (struct outbox_to){.type = FRAMES_PLACE,
                                  .place = world->worker[to].place};
        m->to_epoch = dest.place.epoch;
    } else if (kind == TO_TOPIC) {
        snprintf(topic, sizeof(topic), "t/%u", to);
        dest = (struct outbox_to){.type = FRAMES_PUBLISH,
                                  .kind = FRAMES_TOPIC,
                                  .name = slice_str(topic)};
        expect(m);
    }
    world->messages++; /* outcomes may come at once */
    totals.sent++;
    totals.publishes += kind == TO_TOPIC;
    rc = outbox_send(me->out, &dest, &mail, now_ms());
    if (rc < 0) {
        m->outcome = rc;
        m->outcomes = 1;
        totals.busy += rc == SD_EBUSY;
    }
}

static void send_some(unsigned w)
{
    unsigned n = 1 + below(chance(80) ? 4 : 40), to;
    enum kind kind = chance(70) ? TO_UID : chance(30) ? TO_PLACE : TO_TOPIC;

    if (!world->worker[w].is_alive)
        return;
    to = below(kind == TO_UID     ? world->uids
               : kind == TO_PLACE ? world->workers
                                  : TOPICS);
    while (n-- > 0)
        send_one(w, kind, to);
}

static void subscribe(unsigned w)
{
    struct worker *me = &world->worker[w];
    unsigned t = below(TOPICS), r;
    bool adds = me->since[t] == 0;

    if (!me->is_alive)
        return;
    me->since[t] = adds ? world->now : 0;
    for (r = 0; r < world->relays; r++) {
        if (me->chan[r] >= 0)
            tell_interest(&world->chan[me->chan[r]],
                          adds ? FRAMES_ADD : FRAMES_REMOVE, t);
    }
}

/* --- births and deaths ---------------------------------------------------- */

static void start_worker(unsigned w)
{
    struct worker *me = &world->worker[w];
    struct outbox_calls out = {(void *)(uintptr_t)w, worker_emit, resolve,
                               settled};
    struct inbox_calls in = {(void *)(uintptr_t)w, worker_emit, has_uid,
                             deliver};
    bool few = me->holds_few = chance(10);
    struct outbox_limits most = {.window_count = 8u << below(4),
                                 .window_bytes = 2000u << below(5),
                                 .count = 400,
                                 .queue = 60,
                                 .held = few ? 10 : 0};
    struct inbox_limits seen = {.seen = chance(70) ? 0 : 16u << below(6)};
    unsigned r;

    if (me->is_alive || (world->now > world->end && world->is_quiet))
        return;
    me->is_alive = true;
    me->born = world->now;
    me->counter = 0;
    me->linkless = world->now;
    me->linkless_most = 0;
    me->place.epoch++;
    me->out = outbox_new(&out, &most, &world->key, me->place.boot);
    me->in = inbox_new(&in, &seen);
    for (r = 0; r < TOPICS; r++)
        me->since[r] = chance(60) ? world->now : 0;
    for (r = 0; r < RELAYS; r++)
        me->chan[r] = -1;
    for (r = 0; r < world->relays; r++)
        connect_to(w, r);
}

static void end_worker(unsigned w)
{
    struct worker *me = &world->worker[w];

    totals.frames += outbox_figures(me->out)->frames;
    totals.again += outbox_figures(me->out)->again;
    totals.doubles += inbox_figures(me->in)->doubles;
    totals.gaps += inbox_figures(me->in)->gaps;
    totals.stale += inbox_figures(me->in)->stale;
    totals.forgotten += inbox_figures(me->in)->forgotten;
    totals.missed += outbox_figures(me->out)->missed;
    outbox_free(&me->out);
    inbox_free(&me->in);
    me->is_alive = false;
}

static void kill_worker(unsigned w)
{
    struct worker *me = &world->worker[w];
    unsigned i;

    if (!me->is_alive)
        return;
    for (i = 0; i < world->messages; i++) {
        struct message *m = &world->message[i];

        if (m->w == w && m->epoch == me->place.epoch && m->outcomes == 0)
            m->sender_died = true;
    }
    for (i = 0; i < world->conns; i++) {
        if (world->conn[i].is_open && world->conn[i].w == w) {
            world->conn[i].is_open = false;
            after((100 + below(2000)) * MS, FORGET, i, 0, 0, 0);
        }
    }
    for (i = 0; i < world->relays; i++) {
        if (me->chan[i] >= 0) {
            break_chan(&world->chan[me->chan[i]]);
            world->chan[me->chan[i]].worker_open = false;
        }
    }
    end_worker(w);
    after((50 + below(1500)) * MS, START_WORKER, w, 0, 0, 0);
}

static void start_relay(unsigned r)
{
    struct hub_calls calls = {NULL, relay_emit};
    struct hub_limits most = {.window_count = 8u << below(4),
                              .window_bytes = 2000u << below(5),
                              .uids = 1 + below(8),
                              .filters = 1 + below(8)};

    world->relay[r].is_alive = true;
    world->relay[r].id = ++world->relay_ids;
    world->relay[r].hub = hub_new(&calls, &most, &world->key);
}

static void end_relay(unsigned r)
{
    totals.lost += hub_figures(world->relay[r].hub)->lost;
    hub_free(&world->relay[r].hub);
    world->relay[r].is_alive = false;
}

static void kill_relay(unsigned r)
{
    unsigned i;

    if (!world->relay[r].is_alive)
        return;
    for (i = 0; i < world->chans; i++) {
        if (world->chan[i].r == r && world->chan[i].relay_open) {
            break_chan(&world->chan[i]);
            close_relay_end(&world->chan[i]);
        }
    }
    end_relay(r);
    after((20 + below(2000)) * MS, START_RELAY, r, 0, 0, 0);
}

/* --- one event ------------------------------------------------------------ */

static void turn_worker(unsigned w)
{
    if (world->worker[w].is_alive)
        inbox_turn(world->worker[w].in);
}

static void take_frame(struct event *e)
{
    struct chan *c = &world->chan[e->a];
    struct slice p = {e->bytes, e->len};
    int rc = 0;

    if (world->now > c->cut[e->b])
        return;
    trace_frame("arrives", c, e->c, p);
    note(e->c << 8 ^ e->a << 16 ^ e->len);
    if (e->b == 0 && c->relay_open) {
        if (e->c == FRAMES_PUBLISH && mutation == COVERED)
            put32(e->bytes + 14, c->losses);
        rc = hub_take(world->relay[c->r].hub, c->hub, e->c, p);
        if (chance(60))
            hub_turn(world->relay[c->r].hub);
    } else if (e->b == 1 && c->worker_open) {
        if (frames_is_data(e->c))
            rc = inbox_take(world->worker[c->w].in, c->in, e->c, p, now_ms());
        else
            rc =
                outbox_take(world->worker[c->w].out, c->out, e->c, p, now_ms());
        if (chance(60))
            turn_worker(c->w);
    }
    if (rc < 0)
        wrong("a frame of type %u is refused", e->c);
}

static void tick(unsigned w)
{
    struct worker *me = &world->worker[w];
    unsigned r;

    for (r = 0; r < world->relays; r++) {
        if (world->relay[r].is_alive)
            hub_turn(world->relay[r].hub);
    }
    if (me->is_alive) {
        outbox_tick(me->out, now_ms());
        inbox_tick(me->in, now_ms());
        inbox_turn(me->in);
    }
    after(world->is_quiet ? 50 * MS : 10 * MS, TICK, w, 0, 0, 0);
}

static void settle_later(const struct event *e)
{
    struct worker *me = &world->worker[e->a];

    if (me->is_alive && me->place.epoch == e->b) {
        inbox_settle(me->in, e->n, -(int)e->c);
        turn_worker(e->a);
    }
}

/* The worker that an event needs, or -1. */
static int worker_of(const struct event *e)
{
    switch (e->type) {
    case FRAME:
        return e->b == 1 ? (int)world->chan[e->a].w : -1;
    case NOTICE:
        return e->b == 0 ? (int)world->chan[e->a].w : -1;
    case TELL:
        return (int)world->chan[e->a].w;
    case TICK:
    case SEND:
    case CONNECT:
    case RESOLVED:
    case SETTLE:
    case SUBSCRIBE:
        return (int)e->a;
    case CLOSE_CONN:
        return (int)world->conn[e->a].w;
    default:
        return -1;
    }
}

static void again_later(const struct event *e)
{
    uint64_t us = 1;

    if (world->is_quiet)
        return;
    switch (e->type) {
    case SEND:
        us = 1 + below(60 * MS);
        break;
    case MOVE:
        us = 1 + below(400 * MS);
        break;
    case SUBSCRIBE:
        us = 1 + below(8000 * MS);
        break;
    default:
        us = (uint64_t)(100 + below(4000)) * MS * 50 /
             (world->faults > 0 ? world->faults : 1);
    }
    after(us, e->type,
          below(e->type == SEND         ? world->senders
                : e->type == MOVE       ? world->uids
                : e->type == KILL_RELAY ? world->relays
                                        : world->workers),
          0, 0, 0);
}

static struct chan *some_chan(unsigned w)
{
    unsigned r = below(world->relays);

    if (!world->worker[w].is_alive || world->worker[w].chan[r] < 0)
        return NULL;
    return &world->chan[world->worker[w].chan[r]];
}

static void freeze(unsigned w, uint64_t until)
{
    if (world->worker[w].frozen_until < until)
        world->worker[w].frozen_until = until;
}

static void fault(const struct event *e)
{
    struct chan *c;

    if (world->is_quiet)
        return;
    c = some_chan(e->a);
    if (e->type == BREAK && c != NULL)
        break_chan(c);
    else if (e->type == SLOW && c != NULL)
        c->slow_until = world->now + below(2000 * MS);
    else if (e->type == KILL_WORKER && chance(40))
        kill_worker(e->a);
    else if (e->type == KILL_RELAY && chance(60))
        kill_relay(e->a);
    else if (e->type == FREEZE)
        freeze(e->a, world->now + below(1500 * MS));
    else if (e->type == OUTAGE && world->has_outage)
        world->bad_until = world->now + below(3000 * MS);
    again_later(e);
}

static void act(struct event *e)
{
    switch (e->type) {
    case FRAME:
        take_frame(e);
        break;
    case NOTICE:
        if (e->b == 0)
            close_worker_end(&world->chan[e->a]);
        else
            close_relay_end(&world->chan[e->a]);
        break;
    case CONNECT:
        connect_to(e->a, e->b);
        break;
    case TELL:
        tell_all(&world->chan[e->a]);
        break;
    case TICK:
        tick(e->a);
        break;
    case SEND:
        if (!world->is_quiet)
            send_some(e->a);
        again_later(e);
        break;
    case MOVE:
        if (!world->is_quiet)
            move_uid(e->a);
        again_later(e);
        break;
    case SUBSCRIBE:
        subscribe(e->a);
        again_later(e);
        break;
    case START_WORKER:
        start_worker(e->a);
        break;
    case START_RELAY:
        start_relay(e->a);
        break;
    case RESOLVED:
        resolved(e);
        break;
    case SETTLE:
        settle_later(e);
        break;
    case CLOSE_CONN:
        close_conn(e->a);
        break;
    case FORGET:
        forget_conn(e->a);
        break;
    default:
        fault(e);
    }
}

static void step(void)
{
    struct event e = pop();
    int w = worker_of(&e);

    world->now = e.at;
    if (w >= 0 && world->worker[w].frozen_until > world->now) {
        e.at = world->worker[w].frozen_until;
        push(e);
        return;
    }
    note(e.at ^ (uint64_t)e.type << 56);
    act(&e);
    free(e.bytes);
}

/* --- one world ------------------------------------------------------------ */

static void build(uint64_t seed)
{
    static const enum event_type faults[] = {
        BREAK, KILL_WORKER, KILL_RELAY, FREEZE, OUTAGE, MOVE, SLOW};
    unsigned i;

    world = calloc(1, sizeof(*world));
    world->chan = calloc(CHANS, sizeof(struct chan));
    world->conn = calloc(CONNS, sizeof(struct conn));
    world->message = calloc(MESSAGES, sizeof(struct message));
    world->random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    world->key = (struct hash_key){1, 2};
    world->now = 1000 * MS;
    world->workers = 3 + below(WORKERS - 2);
    world->relays = 1 + below(RELAYS);
    world->uids = 1 + below(UIDS);
    world->senders = 1 + below(world->workers);
    world->is_sole = chance(60);
    world->floods = chance(30);
    world->has_outage = chance(50);
    world->faults = chance(90) ? 1 + below(60) : 0;
    for (i = 0; i < UIDS; i++)
        snprintf(world->uid[i].name, sizeof(world->uid[i].name), "u%u", i);
    for (i = 0; i < world->relays; i++)
        start_relay(i);
    for (i = 0; i < world->workers; i++) {
        world->worker[i].place =
            (struct place){100 + i / 2, (uint16_t)0, (uint8_t)i};
        start_worker(i);
        after(below(10 * MS), TICK, i, 0, 0, 0);
        after(below(1000 * MS), SUBSCRIBE, i, 0, 0, 0);
    }
    for (i = 0; i < world->uids; i++)
        open_conn(i, below(world->workers));
    after(20 * MS, SEND, 0, 0, 0, 0);
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (chance(70) && world->faults > 0)
            after(below(2000 * MS), faults[i],
                  below(world->workers) % (faults[i] == MOVE ? world->uids
                                           : faults[i] == KILL_RELAY
                                               ? world->relays
                                               : world->workers),
                  0, 0, 0);
    }
}

static void judge(const struct message *m)
{
    unsigned i = (unsigned)(m - world->message);

    if (m->sender_died && m->outcomes == 0)
        totals.died++;
    else if (m->outcomes == 0)
        wrong("message %u has no outcome", i);
    else if (m->outcome == 0)
        totals.delivered++;
    else if (is_refusal(m->outcome))
        totals.refused++;
    else if (m->takers > 0)
        totals.unknown_done++;
    else
        totals.unknown_not++;
    if (world->faults == 0 && m->outcome != 0 && m->outcome != SD_EBUSY &&
        m->outcome != SD_ETIMEOUT && m->outcome != SD_ESLOW)
        wrong("message %u was reported as %s, without any fault", i,
              err_word(m->outcome));
}

static void expect_none(const char *what, unsigned of, uint64_t n)
{
    if (n != 0)
        wrong("%u: %llu %s are left", of, (unsigned long long)n, what);
}

static void judge_all(void)
{
    unsigned i;

    for (i = 0; i < world->messages; i++)
        judge(&world->message[i]);
    for (i = 0; i < world->workers; i++) {
        const struct worker *w = &world->worker[i];

        if (!w->is_alive)
            continue;
        expect_none("messages", i, outbox_figures(w->out)->count);
        expect_none("bytes", i, outbox_figures(w->out)->bytes);
        expect_none("lanes", i, outbox_figures(w->out)->lanes);
        expect_none("pending", i, inbox_figures(w->in)->pending);
        expect_none("ids", i, inbox_figures(w->in)->seen);
        expect_none("sources", i, inbox_figures(w->in)->sources);
    }
    for (i = 0; i < world->relays; i++) {
        if (world->relay[i].is_alive)
            expect_none("transits", i,
                        hub_figures(world->relay[i].hub)->transits);
    }
}

static void destroy(void)
{
    unsigned i;

    while (world->events > 0)
        free(pop().bytes);
    for (i = 0; i < world->workers; i++) {
        if (world->worker[i].is_alive)
            end_worker(i);
    }
    for (i = 0; i < world->relays; i++) {
        if (world->relay[i].is_alive)
            end_relay(i);
    }
    free(world->heap);
    free(world->chan);
    free(world->conn);
    free(world->message);
    free(world);
}

static uint64_t run(uint64_t seed, uint64_t *wrongs)
{
    uint64_t hash;

    build(seed);
    world->end = world->now + (uint64_t)(3000 + below(12000)) * MS;
    while (world->now < world->end)
        step();
    world->is_quiet = true;
    while (world->now < world->end + QUIET)
        step();
    judge_all();
    hash = world->hash;
    *wrongs = world->wrongs;
    destroy();
    return hash;
}

static void print_totals(void)
{
    const struct totals *t = &totals;

    printf("sent %llu delivered %llu refused %llu busy %llu "
           "unknown-delivered %llu unknown-not %llu sender-died %llu\n",
           (unsigned long long)t->sent, (unsigned long long)t->delivered,
           (unsigned long long)(t->refused - t->busy),
           (unsigned long long)t->busy, (unsigned long long)t->unknown_done,
           (unsigned long long)t->unknown_not, (unsigned long long)t->died);
    printf("publishes %llu missed %llu frames %llu again %llu doubles %llu "
           "gaps %llu stale %llu lost %llu forgotten %llu\n",
           (unsigned long long)t->publishes, (unsigned long long)t->missed,
           (unsigned long long)t->frames, (unsigned long long)t->again,
           (unsigned long long)t->doubles, (unsigned long long)t->gaps,
           (unsigned long long)t->stale, (unsigned long long)t->lost,
           (unsigned long long)t->forgotten);
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t seed, hash = 0, wrongs, bad = 0, first_bad = 0;

    while (argc > 3 && mutation < MUTATIONS &&
           strcmp(argv[3], mutations[mutation]) != 0)
        mutation++;
    sd_assert(mutation < MUTATIONS);
    if (argc > 4)
        traced = strtoull(argv[4], NULL, 10);
    for (seed = first; seed < first + seeds; seed++) {
        if (mutation != NONE && bad > 0)
            break;
        hash = hash * UINT64_C(0x100000001b3) ^ run(seed, &wrongs);
        if (wrongs > 0 && mutation == NONE)
            printf("seed %llu: %llu wrong\n", (unsigned long long)seed,
                   (unsigned long long)wrongs);
        if (wrongs > 0 && bad++ == 0)
            first_bad = seed;
    }
    print_totals();
    printf("mutation %s changed %llu\n", mutations[mutation],
           (unsigned long long)mutated);
    printf("seeds %llu bad %llu first %llu wrong %llu hash %016llx\n",
           (unsigned long long)seeds, (unsigned long long)bad,
           (unsigned long long)first_bad, (unsigned long long)totals.wrong,
           (unsigned long long)hash);
    return mutation == NONE ? bad > 0 : bad == 0;
}
