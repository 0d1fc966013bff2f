/* gossip_spread.c - what is told to whom.
 *
 * News travel on every ping and answer that has room, and in rounds of their
 * own while there are any: so a thousand members hear of a death in about a
 * second.  An entry is sent a few times log10 of the members often, those sent
 * least first: what is new overtakes what most have heard.
 *
 * The dead get news for a while, and hear of their own death first: who was
 * cut off for half a minute comes back without anybody calling it.  When one
 * comes back, the others may be back as well, so then all the dead do. */
#include <math.h>

#include "base/assert.h"
#include "cluster/gossip_inner.h"

enum {
    PICKS = GOSSIP_PACKET / GOSSIP_SHORTEST,
    MISFITS = 8, /* entries that may be passed over, before a packet is full */
    BURST = 4,   /* packets to one member in a round, if all are full */
    TRIES = 8    /* to find somebody who died lately */
};

/* A packet that is being filled. */
struct fill {
    struct gossip *g;
    char *bytes;
    size_t len;
    unsigned limit;
    unsigned misfits;
    const struct member *about; /* is in it already */
    struct member *picks[PICKS];
    bool is_full[PICKS];
    unsigned npicks;
};

/* How often an entry is sent. */
static unsigned limit_of(const struct gossip *g)
{
    unsigned limit = 4 * (unsigned)ceil(log10(gossip_size(g) + 1.0));

    return limit < NEWS_LIMIT ? limit : NEWS_LIMIT;
}

struct gossip_update spread_update(const struct member *m, bool is_full)
{
    struct gossip_update u = {
        .state = m->pub.state,
        .boot = m->pub.boot,
        .incarnation = m->pub.incarnation,
        .edition = m->edition,
        .naccusers = m->naccusers,
    };
    unsigned i;

    for (i = 0; i < m->naccusers; i++)
        u.accusers[i] = m->accusers[i];
    if (!is_full)
        return u;
    u.is_full = true;
    u.state = GOSSIP_ALIVE;
    u.edition = m->known;
    u.kind = m->pub.kind;
    u.address = m->pub.address;
    u.name = m->pub.name;
    u.meta = m->pub.meta;
    return u;
}

/* --- filling -------------------------------------------------------------- */

static void pick(struct fill *f, struct member *m)
{
    bool is_full = m->pub.state == GOSSIP_ALIVE && news_is_full(m, f->limit);
    struct gossip_update u = spread_update(m, is_full);
    size_t len = gossip_msg_add(f->bytes, f->len, &u);

    if (len == f->len) {
        f->misfits++;
        return;
    }
    f->len = len;
    f->is_full[f->npicks] = is_full;
    f->picks[f->npicks++] = m;
}

static bool has_room(const struct fill *f)
{
    return f->npicks < PICKS && f->misfits < MISFITS &&
           f->len + GOSSIP_SHORTEST <= GOSSIP_PACKET;
}

static void pick_all(struct fill *f)
{
    struct news *n = &f->g->news;
    struct member *self = f->g->members.self;
    struct list *it;
    unsigned i;

    if (news_has(self))
        pick(f, self);
    for (i = 0; i < NEWS_LIMIT; i++) {
        list_each (it, &n->sent[i]) {
            struct member *m = list_entry(it, struct member, news);

            if (!has_room(f))
                return;
            if (m == self || (f->about != NULL && m == f->about))
                continue;
            pick(f, m);
        }
    }
}

static void fill(struct fill *f)
{
    struct gossip_update u;
    unsigned i;

    if (f->about != NULL && f->about->pub.state != GOSSIP_ALIVE) {
        u = spread_update(f->about, false);
        f->len = gossip_msg_add(f->bytes, f->len, &u);
    } else {
        f->about = NULL;
    }
    if (f->g->news.count == 0)
        return;
    f->limit = limit_of(f->g);
    pick_all(f);
    for (i = 0; i < f->npicks; i++)
        news_sent(&f->g->news, f->picks[i], f->is_full[i], f->limit);
}

bool spread_packet(struct gossip *g, const struct gossip_address *to,
                   const struct gossip_packet *p, const struct member *about)
{
    char bytes[GOSSIP_PACKET];
    struct fill f;

    f.g = g;
    f.bytes = bytes;
    f.len = gossip_msg_begin(bytes, p);
    f.about = about;
    f.npicks = f.misfits = 0;
    fill(&f);
    gossip_send(g, to, bytes, f.len);
    return !has_room(&f);
}

void spread_bare(struct gossip *g, const struct gossip_address *to,
                 const struct gossip_packet *p)
{
    char bytes[GOSSIP_PACKET];

    gossip_send(g, to, bytes, gossip_msg_begin(bytes, p));
}

/* --- rounds --------------------------------------------------------------- */

void spread_news(struct gossip *g, struct member *m, bool is_full)
{
    news_add(&g->news, m, is_full);
    if (!timer_is_on(&g->spread_timer))
        gossip_later(g, &g->spread_timer, g->conf.spread / 2);
}

static struct member *one_of_the_dead(struct gossip *g)
{
    struct member *m;
    unsigned i;

    for (i = 0; i < TRIES; i++) {
        m = members_any_dead(&g->members);
        if (m != NULL && m->pub.state == GOSSIP_DEAD &&
            (g->clock - m->since < g->conf.news_to_dead ||
             g->clock < g->reunion))
            return m;
    }
    return NULL;
}

/* Somebody alive, or not long dead. */
static struct member *audience(struct gossip *g)
{
    const struct members *ms = &g->members;
    uint32_t dead = ms->ndead < ms->nliving ? ms->ndead : ms->nliving;
    struct member *m = NULL;

    if (ms->nliving == 0 || dice_roll(&g->dice, ms->nliving + dead) < dead)
        m = one_of_the_dead(g);
    return m != NULL ? m : members_any(&g->members);
}

void spread_round(struct gossip *g, unsigned n)
{
    struct gossip_packet p = gossip_packet(g, GOSSIP_NEWS);
    struct member *told[32], *m;
    unsigned i, j, ntold = 0;

    sd_assert(n <= sizeof(told) / sizeof(told[0]));
    for (i = 0; i < n * 2 && ntold < n && g->news.count > 0; i++) {
        m = audience(g);
        for (j = 0; j < ntold && told[j] != m; j++)
            continue;
        if (m == NULL || j < ntold)
            continue;
        told[ntold++] = m;
        for (j = 0; j < BURST && spread_packet(g, &m->pub.address, &p, m); j++)
            continue;
    }
}

static void on_round(struct timer *t)
{
    struct gossip *g = list_entry(t, struct gossip, spread_timer);

    spread_round(g, g->conf.fanout);
    if (g->news.count > 0)
        gossip_later(g, t, g->conf.spread);
}

void spread_start(struct gossip *g)
{
    g->spread_timer.fn = on_round;
}
