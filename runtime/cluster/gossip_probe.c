/* gossip_probe.c - who does not answer.
 *
 * One probe runs at a time, of one member, for one period.  Pings go out
 * several times within it, a lost one is no news; after the timeout a few
 * others are asked to ping, too, so that a bad way between two is not taken
 * for a death.  Who is still silent at the end of the period is suspected.
 *
 * How well we hear ourselves is `awareness`: it grows when a probe fails and
 * those who were asked do not even say that they had no answer (they were
 * asked to, before the time is over), when we have to refute our death, and
 * after we stood still.  Everything takes as many times longer; a machine that
 * is short of time accuses less. */
#include "base/assert.h"
#include "cluster/gossip_inner.h"

enum {
    NACK_PERCENT = 80 /* of the timeout: then a proxy says it has nothing */
};

void probe_health(struct gossip *g, int by)
{
    int aware = (int)g->awareness + by;

    if (aware < 0)
        aware = 0;
    g->awareness = aware > GOSSIP_AWARE ? GOSSIP_AWARE : (unsigned)aware;
}

static void ping(struct gossip *g, const struct member *m, uint64_t nonce)
{
    struct gossip_packet p = gossip_packet(g, GOSSIP_PING);

    p.nonce = nonce;
    p.subject = m->pub.boot;
    spread_packet(g, &m->pub.address, &p, m);
}

void probe_remind(struct gossip *g, const struct member *m)
{
    ping(g, m, dice_bits(&g->dice));
}

/* --- our own probes ------------------------------------------------------- */

static void ask_proxies(struct gossip *g, struct member *target)
{
    struct gossip_packet p = gossip_packet(g, GOSSIP_PROXY);
    struct member *asked[16], *m;
    unsigned i, j, n = 0;

    p.nonce = g->probe.nonce;
    p.subject = target->pub.boot;
    for (i = 0; i < g->conf.proxies * 3 && n < g->conf.proxies; i++) {
        m = members_any(&g->members);
        for (j = 0; j < n && asked[j] != m; j++)
            continue;
        if (j < n || m == target || m->pub.state != GOSSIP_ALIVE)
            continue;
        asked[n++] = m;
        spread_packet(g, &m->pub.address, &p, target);
    }
    g->probe.proxies = n;
}

static void judge(struct gossip *g, struct member *m)
{
    const struct gossip_probe *probe = &g->probe;

    g->counters.failed_probes++;
    if (probe->proxies == 0)
        probe_health(g, 1);
    else
        probe_health(g, (int)probe->proxies - (int)probe->nacks);
    suspect_silent(g, m);
}

static void begin(struct gossip *g)
{
    struct member *m = g->is_leaving ? NULL : members_next(&g->members);
    uint32_t scale = g->awareness + 1;

    g->probe = (struct gossip_probe){
        .boot = m != NULL ? m->pub.boot : 0,
        .nonce = dice_bits(&g->dice),
        .begun = g->clock,
        .period = g->conf.period * scale,
        .gap = g->conf.timeout / g->conf.pings * scale,
        .is_answered = m == NULL,
    };
    if (m != NULL)
        g->counters.probes++;
}

/* The next ping of the probe, or its end. */
static void on_step(struct timer *t)
{
    struct gossip *g = list_entry(t, struct gossip, probe_timer);
    struct gossip_probe *probe = &g->probe;
    uint64_t end = probe->begun + probe->period, next;
    struct member *m = members_find(&g->members, probe->boot);

    if (g->clock >= end) {
        if (m != NULL && !probe->is_answered)
            judge(g, m);
        begin(g);
        end = probe->begun + probe->period;
        m = members_find(&g->members, probe->boot);
    }
    next = end;
    if (m != NULL && !probe->is_answered && m->pub.state <= GOSSIP_SUSPECT) {
        ping(g, m, probe->nonce);
        if (probe->steps++ == g->conf.pings)
            ask_proxies(g, m);
        next = probe->begun + (uint64_t)probe->steps * probe->gap;
    }
    wheel_start(&g->wheel, t, next < end ? next : end);
}

static void on_answer(struct gossip *g)
{
    struct gossip_probe *probe = &g->probe;

    if (probe->is_answered)
        return;
    probe->is_answered = true;
    if (probe->proxies == 0)
        probe_health(g, -1);
    wheel_start(&g->wheel, &g->probe_timer, probe->begun + probe->period);
}

/* A frame is an answer only when it came after the question: an older one
 * would hide a death for as long as it vouches. */
void probe_on_vouch(struct gossip *g, uint64_t boot, uint64_t age)
{
    if (g->probe.boot == boot && g->clock - g->probe.begun >= age)
        on_answer(g);
}

void probe_on_nack(struct gossip *g, const struct gossip_packet *p)
{
    if (p->nonce == g->probe.nonce && g->probe.nacks < g->probe.proxies)
        g->probe.nacks++;
}

/* --- answers, and probes for others --------------------------------------- */

/* Did this member show that it is where it says?  Only such get answers that
 * are longer than their questions. */
static struct member *proven(const struct gossip *g,
                             const struct gossip_packet *p)
{
    struct member *m = members_find(&g->members, p->boot);

    if (m == NULL || m->pub.state >= GOSSIP_DEAD ||
        !gossip_address_eq(&m->pub.address, &p->from))
        return NULL;
    return m;
}

void probe_on_ping(struct gossip *g, const struct gossip_packet *p)
{
    struct gossip_packet ack = gossip_packet(g, GOSSIP_ACK);
    const struct member *m = proven(g, p);

    ack.nonce = p->nonce;
    ack.subject = gossip_self(g)->boot;
    if (m != NULL)
        spread_packet(g, &p->from, &ack, m);
    else
        spread_bare(g, &p->from, &ack);
}

static void end_relay(struct gossip *g, struct gossip_relay *r)
{
    wheel_stop(&g->wheel, &r->timer);
    r->target = 0;
}

/* Steps of a relay: pings, then the nack, then its end. */
static void on_relay(struct timer *t)
{
    struct gossip_relay *r = list_entry(t, struct gossip_relay, timer);
    struct gossip *g = r->g;
    struct member *m = members_find(&g->members, r->target);
    struct gossip_packet nack = gossip_packet(g, GOSSIP_NACK);
    uint32_t early = g->conf.timeout * NACK_PERCENT / 100;

    if (m == NULL || r->steps > g->conf.pings) {
        end_relay(g, r);
        return;
    }
    if (r->steps++ < g->conf.pings) {
        ping(g, m, r->nonce);
        wheel_start(&g->wheel, t, g->clock + early / g->conf.pings);
        return;
    }
    nack.nonce = r->their_nonce;
    spread_bare(g, &r->asker, &nack);
    wheel_start(&g->wheel, t, g->clock + g->conf.timeout);
}

void probe_on_proxy(struct gossip *g, const struct gossip_packet *p)
{
    struct gossip_relay *r = g->relays;

    if (proven(g, p) == NULL || p->subject == gossip_self(g)->boot ||
        members_find(&g->members, p->subject) == NULL)
        return;
    while (r < g->relays + GOSSIP_RELAYS && r->target != 0)
        r++;
    if (r == g->relays + GOSSIP_RELAYS)
        return;
    r->g = g;
    r->target = p->subject;
    r->nonce = dice_bits(&g->dice);
    r->their_nonce = p->nonce;
    r->asker = p->from;
    r->steps = 0;
    r->timer.fn = on_relay;
    on_relay(&r->timer);
}

/* Another boot answers where we looked for `boot`: under the same name, it
 * took its place. */
static void displaced(struct gossip *g, uint64_t boot, uint64_t by)
{
    struct member *old = members_find(&g->members, boot);
    struct member *now = members_find(&g->members, by);

    if (old != NULL && now != NULL && now != g->members.self &&
        now->pub.state <= GOSSIP_SUSPECT &&
        slice_eq(old->pub.name, now->pub.name))
        merge_death(g, old);
}

static void pass_on(struct gossip *g, struct gossip_relay *r,
                    const struct gossip_packet *p)
{
    struct gossip_packet ack = gossip_packet(g, GOSSIP_ACK);

    ack.nonce = r->their_nonce;
    ack.subject = p->subject;
    spread_packet(g, &r->asker, &ack, NULL);
    end_relay(g, r);
}

void probe_on_ack(struct gossip *g, const struct gossip_packet *p)
{
    struct gossip_relay *r = g->relays;

    if (g->probe.boot != 0 && g->probe.nonce == p->nonce) {
        if (g->probe.boot == p->subject)
            on_answer(g);
        else
            displaced(g, g->probe.boot, p->subject);
        return;
    }
    while (r < g->relays + GOSSIP_RELAYS &&
           (r->target == 0 || r->nonce != p->nonce))
        r++;
    if (r < g->relays + GOSSIP_RELAYS)
        pass_on(g, r, p);
}

/* --- our name ------------------------------------------------------------- */

/* Who is said to live under our name, and was not heard: the next, at first
 * with `m` NULL. */
static struct member *next_twin(const struct gossip *g, struct member *m)
{
    const struct member *self = g->members.self;

    do
        m = members_named(&g->members, self->pub.name, m);
    while (m != NULL &&
           (m == self || m->pub.state >= GOSSIP_DEAD || m->is_met));
    return m;
}

/* One with our address was there before us. */
bool gossip_has_rival(const struct gossip *g)
{
    struct member *m = next_twin(g, NULL);

    while (m != NULL &&
           gossip_address_eq(&m->pub.address, &gossip_self(g)->address))
        m = next_twin(g, m);
    return m != NULL;
}

static void on_twin(struct timer *t)
{
    struct gossip *g = list_entry(t, struct gossip, twin_timer);
    struct member *m = NULL;
    bool is_open = false;

    while ((m = next_twin(g, m)) != NULL) {
        probe_remind(g, m);
        is_open = true;
    }
    if (is_open)
        wheel_start(&g->wheel, t, g->clock + g->conf.timeout / g->conf.pings);
}

void probe_twin(struct gossip *g)
{
    wheel_start(&g->wheel, &g->twin_timer, g->clock);
}

void probe_start(struct gossip *g)
{
    g->probe_timer.fn = on_step;
    g->twin_timer.fn = on_twin;
    wheel_start(&g->wheel, &g->probe_timer,
                g->clock + dice_roll(&g->dice, g->conf.period));
}
