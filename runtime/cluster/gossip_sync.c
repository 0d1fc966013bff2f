/* gossip_sync.c - comparing tables, and finding the first member.
 *
 *     asker                               asked
 *     ASK   nonce a, digest      ->
 *                                <-       HELLO  a, nonce b, digest
 *     STATE b, where they differ ->
 *                                <-       STATE  the same buckets
 *
 * News may get lost; this does not: two tables that differ are made equal,
 * whatever happened before.  It is also how somebody new joins, how the two
 * sides of a partition find together, and what a member does that hears of
 * something it does not know.
 *
 * Nothing long goes to an address that has not shown that it receives: the
 * asked one gets STATE where it echoed `a`, and the asker where it echoed
 * `b`.  Of `b` nothing is kept, it is a keyed hash of who asked; so questions
 * cost no memory.  HELLO is as long as ASK. */
#include "base/assert.h"
#include "cluster/gossip_inner.h"

enum {
    TRIES = 3, /* of one question, a timeout apart */
    SEEDS_AT_ONCE = 3,
    FIRST_WAIT = 200,     /* ms until seeds are asked again */
    LONGEST_WAIT = 10000, /* the same, after many times */
    JOIN_TRIES = 8,       /* until those that never answered are let be */
    ROWS = 256,           /* of a table that are sent at once */
    SEED_TURNS = 6,       /* one call in so many goes to a seed */
    COOKIE_MS = 8192      /* how long a challenge holds, at least */
};

/* --- asking --------------------------------------------------------------- */

static void send_question(struct gossip *g, struct gossip_question *q)
{
    struct gossip_packet p = gossip_packet(g, GOSSIP_ASK);

    p.nonce = q->nonce;
    memcpy(p.digest, g->members.digest, sizeof(p.digest));
    spread_bare(g, &q->to, &p);
    q->sent++;
    wheel_start(&g->wheel, &q->timer, g->clock + g->conf.timeout);
}

static void on_no_answer(struct timer *t)
{
    struct gossip_question *q = list_entry(t, struct gossip_question, timer);

    if (q->sent < TRIES && !q->g->is_leaving)
        send_question(q->g, q);
    else
        q->sent = 0;
}

void sync_ask(struct gossip *g, const struct gossip_address *to)
{
    struct gossip_question *q, *found = NULL;

    for (q = g->asks; q < g->asks + GOSSIP_ASKS; q++) {
        if (q->sent == 0)
            found = found == NULL ? q : found;
        else if (gossip_address_eq(&q->to, to))
            return;
    }
    if (found == NULL || g->is_leaving ||
        gossip_address_eq(&gossip_self(g)->address, to))
        return;
    found->g = g;
    found->to = *to;
    found->nonce = dice_bits(&g->dice);
    found->timer.fn = on_no_answer;
    send_question(g, found);
}

void sync_need(struct gossip *g, const struct gossip_packet *p)
{
    if (g->clock < g->curious)
        return;
    g->curious = g->clock + g->conf.period;
    sync_ask(g, &p->from);
}

/* While tables differ they are compared more often. */
static void pace(struct gossip *g, bool is_same)
{
    uint32_t soonest = 2 * g->conf.period;

    g->sync_wait = is_same ? g->sync_wait * 2 : g->sync_wait / 2;
    if (g->sync_wait < soonest)
        g->sync_wait = soonest;
    if (g->sync_wait > g->conf.sync)
        g->sync_wait = g->conf.sync;
}

/* --- answering ------------------------------------------------------------ */

static uint64_t cookie(const struct gossip *g, const struct gossip_packet *p,
                       uint64_t age)
{
    struct {
        uint64_t boot, epoch;
        unsigned char ip[16];
        uint64_t port;
    } who = {.boot = p->boot, .epoch = g->clock / COOKIE_MS - age};

    memcpy(who.ip, p->from.ip, sizeof(who.ip));
    who.port = p->from.port;
    return hash_bytes(&g->cookies, slice_make(&who, sizeof(who)));
}

void sync_on_ask(struct gossip *g, const struct gossip_packet *p)
{
    struct gossip_packet hello = gossip_packet(g, GOSSIP_HELLO);

    hello.nonce = p->nonce;
    hello.subject = cookie(g, p, 0);
    memcpy(hello.digest, g->members.digest, sizeof(hello.digest));
    spread_bare(g, &p->from, &hello);
}

/* --- tables --------------------------------------------------------------- */

/* A row of packets with a table in them. */
struct writer {
    struct gossip *g;
    const struct gossip_address *to;
    struct gossip_packet head;
    char bytes[GOSSIP_PACKET];
    size_t len;
};

static void flush(struct writer *w)
{
    gossip_send(w->g, w->to, w->bytes, w->len);
    w->head.wants = false;
    w->len = gossip_msg_begin(w->bytes, &w->head);
}

static void write_update(struct writer *w, const struct member *m, bool is_full)
{
    struct gossip_update u = spread_update(m, is_full);
    size_t len = gossip_msg_add(w->bytes, w->len, &u);

    if (len == w->len) {
        flush(w);
        len = gossip_msg_add(w->bytes, w->len, &u);
        sd_assert(len > w->len);
    }
    w->len = len;
}

static void write_member(struct writer *w, const struct member *m)
{
    if ((w->head.mask >> members_bucket(m->pub.boot) & 1) == 0)
        return;
    if (m->pub.state <= GOSSIP_SUSPECT)
        write_update(w, m, true);
    if (m->pub.state != GOSSIP_ALIVE)
        write_update(w, m, false);
}

/* The first packet has ourselves in it, whatever the mask. */
static void send_table(struct gossip *g, const struct gossip_address *to,
                       uint64_t nonce, uint32_t mask, bool wants)
{
    const struct members *ms = &g->members;
    struct writer w = {.g = g, .to = to};
    uint32_t i;

    w.head = gossip_packet(g, GOSSIP_STATE);
    w.head.nonce = nonce;
    w.head.mask = mask;
    w.head.wants = wants;
    w.len = gossip_msg_begin(w.bytes, &w.head);
    write_update(&w, ms->self, !g->is_leaving);
    for (i = 0; i < ms->nliving; i++)
        write_member(&w, ms->living[i]);
    for (i = 0; i < ms->ndead; i++)
        write_member(&w, ms->dead[i]);
    gossip_send(g, to, w.bytes, w.len);
}

/* The buckets that differ; of large tables only some, any of them, so that
 * what is sent at once stays short. */
static uint32_t difference(struct gossip *g, const uint32_t *digest)
{
    unsigned first = dice_roll(&g->dice, GOSSIP_BUCKETS), i, b;
    unsigned room = GOSSIP_BUCKETS * ROWS / gossip_size(g) + 1;
    uint32_t mask = 0;

    for (i = 0; i < GOSSIP_BUCKETS && room > 0; i++) {
        b = (first + i) % GOSSIP_BUCKETS;
        if (digest[b] == g->members.digest[b])
            continue;
        mask |= UINT32_C(1) << b;
        room--;
    }
    return mask;
}

void sync_on_hello(struct gossip *g, const struct gossip_packet *p)
{
    struct gossip_question *q = g->asks;
    uint32_t mask;

    while (q < g->asks + GOSSIP_ASKS && (q->sent == 0 || q->nonce != p->nonce))
        q++;
    if (q == g->asks + GOSSIP_ASKS)
        return;
    q->sent = 0;
    wheel_stop(&g->wheel, &q->timer);
    mask = difference(g, p->digest);
    pace(g, mask == 0);
    if (mask == 0 || g->is_leaving)
        return;
    g->counters.syncs++;
    send_table(g, &q->to, p->subject, mask, true);
}

void sync_on_state(struct gossip *g, const struct gossip_packet *p)
{
    if (!p->wants)
        return;
    if (p->nonce == cookie(g, p, 0) || p->nonce == cookie(g, p, 1))
        send_table(g, &p->from, 0, p->mask, false);
    else
        g->counters.bad++;
}

/* --- finding somebody ----------------------------------------------------- */

static void ask_seeds(struct gossip *g, unsigned n)
{
    if (n > g->nseeds)
        n = g->nseeds;
    while (n-- > 0) {
        g->next_seed %= g->nseeds;
        sync_ask(g, &g->seeds[g->next_seed++]);
    }
}

static bool is_address_of_living(const struct gossip *g,
                                 const struct gossip_address *a)
{
    uint32_t i;

    for (i = 0; i < g->members.nliving; i++) {
        if (gossip_address_eq(&g->members.living[i]->pub.address, a))
            return true;
    }
    return gossip_address_eq(&gossip_self(g)->address, a);
}

/* Of those that are nobody we know, in turn; false: there are none. */
static bool ask_other_seeds(struct gossip *g)
{
    unsigned i, n = 0;

    for (i = 0; i < g->nseeds && n < SEEDS_AT_ONCE; i++) {
        g->next_seed %= g->nseeds;
        if (!is_address_of_living(g, &g->seeds[g->next_seed])) {
            sync_ask(g, &g->seeds[g->next_seed]);
            n++;
        }
        g->next_seed++;
    }
    return n > 0;
}

/* Ask a few seeds, then wait longer each time: while we are alone, and for a
 * while afterwards.  When all start at once, some find each other before their
 * seeds are there. */
static void on_join(struct timer *t)
{
    struct gossip *g = list_entry(t, struct gossip, join_timer);
    uint32_t wait = FIRST_WAIT << (g->lonely < 6 ? g->lonely : 6);

    if (g->is_leaving)
        return;
    if (!gossip_is_joined(g))
        ask_seeds(g, SEEDS_AT_ONCE);
    else if (g->lonely >= JOIN_TRIES || !ask_other_seeds(g))
        return;
    g->lonely++;
    gossip_later(g, t, wait < LONGEST_WAIT ? wait : LONGEST_WAIT);
}

void sync_seek(struct gossip *g)
{
    g->lonely = 0;
    wheel_start(&g->wheel, &g->join_timer, g->clock);
}

/* Another boot of its name lives, or ended after it. */
static bool is_replaced(const struct gossip *g, const struct member *m)
{
    const struct member *o = NULL;

    while ((o = members_named(&g->members, m->pub.name, o)) != NULL) {
        if (o->pub.state <= GOSSIP_SUSPECT || o->since > m->since ||
            (o->since == m->since && o->pub.boot > m->pub.boot))
            return true;
    }
    return false;
}

/* One of the dead that may come back.  Those who left or live on as another
 * boot do not, and tombstones of these may be many. */
static struct member *one_of_the_lost(struct gossip *g)
{
    struct member *any = NULL, *m;
    uint32_t i, n = 0;

    for (i = 0; i < g->members.ndead; i++) {
        m = g->members.dead[i];
        if (m->pub.state == GOSSIP_DEAD && !is_replaced(g, m) &&
            dice_roll(&g->dice, ++n) == 0)
            any = m;
    }
    return any;
}

/* Call somebody who is thought to be dead: after a partition that lasted
 * longer than news go to the dead, this is what joins the two sides. */
static void on_seek(struct timer *t)
{
    struct gossip *g = list_entry(t, struct gossip, seek_timer);
    struct member *m = one_of_the_lost(g);

    if (m != NULL)
        sync_ask(g, &m->pub.address);
    if (g->nseeds > 0 && dice_roll(&g->dice, SEED_TURNS) == 0) {
        g->next_seed %= g->nseeds;
        if (is_address_of_living(g, &g->seeds[g->next_seed]))
            g->next_seed++;
        else
            ask_seeds(g, 1);
    }
    gossip_later(g, t, g->conf.seek);
}

static void on_sync(struct timer *t)
{
    struct gossip *g = list_entry(t, struct gossip, sync_timer);
    struct member *m = members_any(&g->members);

    if (m != NULL)
        sync_ask(g, &m->pub.address);
    gossip_later(g, t, g->sync_wait);
}

void sync_soon(struct gossip *g)
{
    g->sync_wait = 0;
    pace(g, false);
    gossip_later(g, &g->sync_timer, g->conf.period);
}

void sync_start(struct gossip *g)
{
    g->sync_timer.fn = on_sync;
    g->seek_timer.fn = on_seek;
    g->join_timer.fn = on_join;
    sync_soon(g);
    gossip_later(g, &g->seek_timer, dice_roll(&g->dice, g->conf.seek) + 1);
    sync_seek(g);
}
