/* gossip.c - see gossip.h.
 *
 * All waiting goes through one timer wheel that runs on a clock of its own.
 * That clock follows the caller's, except when a tick comes late: then this
 * process was stopped, and the packets that would have proved others alive lie
 * unread in the socket.  So the clock stands still for a timeout; whatever was
 * about to be judged is judged after that.  A pause of a minute costs those
 * who were stopped a refutation, and nobody else anything. */
#include "cluster/gossip.h"

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/gossip_inner.h"

enum {
    LONGEST_TICK = 60000,
    FANOUT_MAX = 32, /* also of a goodbye */
    SAME_AGE = 1000, /* ms: started at the same time, boots decide */
    AGE_ERROR = 500  /* ms: a packet's way makes others look younger */
};

static const struct {
    const char *name;
    struct gossip_conf conf;
} profiles[] = {
    {"lan",
     {.period = 1000,
      .timeout = 500,
      .pings = 3,
      .proxies = 5,
      .spread = 200,
      .fanout = 3,
      .suspicion = 4,
      .suspicion_max = 6,
      .news_to_dead = 30000,
      .tombstone = 24 * 3600 * 1000,
      .sync = 30000,
      .seek = 5000,
      .vouched = 3000}},
    {"fast",
     {.period = 300,
      .timeout = 150,
      .pings = 3,
      .proxies = 5,
      .spread = 100,
      .fanout = 3,
      .suspicion = 4,
      .suspicion_max = 6,
      .news_to_dead = 30000,
      .tombstone = 24 * 3600 * 1000,
      .sync = 10000,
      .seek = 2000,
      .vouched = 3000}},
};

bool gossip_profile(struct gossip_conf *out, const char *name)
{
    unsigned i;

    for (i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
        if (strcmp(profiles[i].name, name) == 0) {
            *out = profiles[i].conf;
            return true;
        }
    }
    return false;
}

/* --- its life ------------------------------------------------------------- */

static void check_conf(const struct gossip_conf *c)
{
    sd_assert(c->pings > 0 && c->timeout >= c->pings);
    sd_assert(c->period >= c->timeout && c->spread > 1);
    sd_assert(c->proxies <= 16 && c->fanout <= FANOUT_MAX);
    sd_assert(c->suspicion > 0 && c->suspicion_max > 0);
    sd_assert(c->sync > 0 && c->seek > 0 && c->tombstone > c->news_to_dead);
}

static void make_self(struct gossip *g, const struct gossip_self *self)
{
    struct gossip_update u = {
        .state = GOSSIP_ALIVE,
        .is_full = true,
        .boot = self->boot,
        .kind = self->kind,
        .address = self->address,
        .name = self->name,
        .meta = self->meta,
    };
    struct member *m;

    sd_assert(self->boot != 0 && self->kind >= 1 && self->kind <= GOSSIP_KINDS);
    sd_assert(gossip_name_is_sound(self->name));
    sd_assert(gossip_address_is_sound(&self->address));
    sd_assert(self->meta.len <= GOSSIP_META);
    /* A later process of this boot begins above what the earlier one had;
     * should it not, it hears of that and goes on from there. */
    u.incarnation = u.edition = 1 + self->age % (GOSSIP_INCARNATIONS / 2);
    m = g->members.self = members_add(&g->members, &u);
    m->owner = g;
    members_digest(&g->members, m);
}

struct gossip *gossip_new(const struct gossip_conf *conf,
                          const struct gossip_self *self,
                          const struct gossip_hooks *hooks, uint64_t seed,
                          uint64_t now)
{
    struct gossip *g = mem_zalloc(sizeof(*g));

    check_conf(conf);
    g->magic = GOSSIP_MAGIC;
    g->conf = *conf;
    g->hooks = *hooks;
    g->dice.state = seed;
    g->cookies.k0 = dice_bits(&g->dice);
    g->cookies.k1 = dice_bits(&g->dice);
    g->clock = g->now = now;
    g->wait = conf->period;
    g->round = 2; /* nobody had links in the one before, which is not 0 */
    g->born = now - self->age;
    wheel_init(&g->wheel, now);
    news_init(&g->news);
    members_init(&g->members, dice_bits(&g->dice));
    make_self(g, self);
    spread_start(g);
    probe_start(g);
    sync_start(g);
    return g;
}

void gossip_free(struct gossip **gp)
{
    struct gossip *g = *gp;

    if (g == NULL)
        return;
    sd_check(g, GOSSIP_MAGIC);
    members_fini(&g->members);
    g->magic = 0;
    mem_free(g);
    *gp = NULL;
}

/* --- time ----------------------------------------------------------------- */

/* Once more when we were stopped again before it ended. */
static void begin_hold(struct gossip *g)
{
    g->hold = g->now + g->conf.timeout;
    if (g->is_late)
        return;
    g->is_late = true;
    g->counters.late++;
    probe_health(g, 1);
}

void gossip_advance(struct gossip *g, uint64_t now)
{
    uint64_t passed = now > g->now ? now - g->now : 0;

    g->now = now;
    if (passed > (uint64_t)g->wait + g->conf.timeout) {
        begin_hold(g);
        return;
    }
    if (g->is_late) {
        g->is_late = now < g->hold;
        return;
    }
    g->clock += passed;
    g->wait -= passed < g->wait ? (uint32_t)passed : g->wait;
}

uint32_t gossip_tick(struct gossip *g, uint64_t now)
{
    struct timer *t;
    uint64_t next;

    sd_check(g, GOSSIP_MAGIC);
    gossip_advance(g, now);
    if (g->is_late) {
        g->wait = (uint32_t)(g->hold - now);
        return g->wait;
    }
    while ((t = wheel_pop(&g->wheel, g->clock)) != NULL)
        t->fn(t);
    next = wheel_next(&g->wheel) - g->clock;
    g->wait = next < LONGEST_TICK ? (uint32_t)next : LONGEST_TICK;
    return g->wait;
}

void gossip_later(struct gossip *g, struct timer *t, uint32_t ms)
{
    wheel_start(&g->wheel, t, g->clock + ms + dice_roll(&g->dice, ms / 4 + 1));
}

/* --- packets -------------------------------------------------------------- */

static uint32_t age_of(const struct gossip *g)
{
    uint64_t age = g->clock - g->born;

    return age < UINT32_MAX ? (uint32_t)age : UINT32_MAX;
}

struct gossip_packet gossip_packet(const struct gossip *g,
                                   enum gossip_type type)
{
    return (struct gossip_packet){
        .type = type,
        .boot = gossip_self(g)->boot,
        .from = gossip_self(g)->address,
        .age_ms = age_of(g),
    };
}

void gossip_send(struct gossip *g, const struct gossip_address *to,
                 const char *bytes, size_t len)
{
    g->counters.packets_out++;
    g->counters.bytes_out += len;
    g->hooks.send(g->hooks.arg, to, bytes, len);
}

void gossip_tell(struct gossip *g, const struct member *m,
                 enum gossip_event what)
{
    if (g->hooks.change != NULL)
        g->hooks.change(g->hooks.arg, &m->pub, what);
}

/* Was the sender, which has our name, here first?  Both ends ask themselves
 * this, and each sees the other too young by the packet's way.  So the limits
 * overlap: for starts within a second the boots decide, and for some half a
 * second of differences both are told; never none. */
static bool was_first(const struct gossip *g, const struct gossip_packet *p)
{
    int64_t lead = (int64_t)age_of(g) - p->age_ms;

    if (gossip_self(g)->boot > p->boot)
        return lead <= SAME_AGE;
    return lead < AGE_ERROR - SAME_AGE;
}

/* What its coming alone says. */
static void meet_sender(struct gossip *g, const struct gossip_packet *p)
{
    struct member *m = members_find(&g->members, p->boot);
    bool is_exchange = p->type >= GOSSIP_ASK;

    if (m == NULL || m->pub.state == GOSSIP_DEAD) {
        if (!is_exchange)
            sync_need(g, p);
        return;
    }
    if (m->is_met || !slice_eq(m->pub.name, gossip_self(g)->name))
        return;
    m->is_met = true;
    if (!was_first(g, p))
        return;
    g->counters.conflicts++;
    gossip_tell(g, m, GOSSIP_CONFLICT);
}

static void dispatch(struct gossip *g, const struct gossip_packet *p)
{
    if (p->type == GOSSIP_STATE)
        sync_on_state(g, p);
    merge_packet(g, p);
    switch (p->type) {
    case GOSSIP_PING:
        probe_on_ping(g, p);
        break;
    case GOSSIP_ACK:
        probe_on_ack(g, p);
        break;
    case GOSSIP_NACK:
        probe_on_nack(g, p);
        break;
    case GOSSIP_PROXY:
        probe_on_proxy(g, p);
        break;
    case GOSSIP_ASK:
        sync_on_ask(g, p);
        break;
    case GOSSIP_HELLO:
        sync_on_hello(g, p);
        break;
    case GOSSIP_NEWS:
    case GOSSIP_STATE:
        break;
    }
}

int gossip_receive(struct gossip *g, uint64_t now, const char *bytes,
                   size_t len)
{
    struct gossip_packet p;

    sd_check(g, GOSSIP_MAGIC);
    gossip_advance(g, now);
    g->counters.packets_in++;
    g->counters.bytes_in += len;
    if (gossip_msg_read(&p, slice_make(bytes, len)) < 0) {
        g->counters.bad++;
        return SD_EPROTO;
    }
    if (p.boot == gossip_self(g)->boot) /* a seed may be ourselves */
        return 0;
    meet_sender(g, &p);
    dispatch(g, &p);
    return 0;
}
