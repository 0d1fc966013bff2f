/* gossip_suspect.c - between alive and dead.
 *
 * A suspicion names who began it.  While nobody else confirms it, it lasts
 * long: it may be the accuser who cannot hear.  Each of up to two more
 * accusers cuts it, the first the most, down to the shortest (the logarithm
 * is Lifeguard's).
 *
 * It ends early when the suspect refutes it, so the suspect has to hear of it,
 * and its refutation has to come back.  News may all be lost, if it is the
 * accuser who is cut off: then what it accused others of would end in their
 * death after it is back.  So accusers tell the suspect itself, again and
 * again, as long as the suspicion lasts.  The others, to whom a refutation may
 * have got lost, do so in its second half: by then most are refuted. */
#include <math.h>

#include "base/assert.h"
#include "cluster/gossip_inner.h"

enum {
    CONFIRMATIONS = GOSSIP_ACCUSERS - 1,
    REMINDERS = 2,    /* periods between two */
    VETO_AGAIN = 1000 /* ms until a suspicion that was vetoed ends */
};

bool suspect_is_vouched(const struct gossip *g, const struct member *m)
{
    return g->clock < m->vouched;
}

static uint32_t own_mark(const struct gossip *g)
{
    return (uint32_t)gossip_self(g)->boot;
}

static bool is_accused_by(const struct member *m, uint32_t accuser)
{
    unsigned i;

    for (i = 0; i < m->naccusers; i++) {
        if (m->accusers[i] == accuser)
            return true;
    }
    return false;
}

/* True: this accuser is one more. */
static bool accuse(struct member *m, uint32_t accuser)
{
    if (m->naccusers == GOSSIP_ACCUSERS || is_accused_by(m, accuser))
        return false;
    m->accusers[m->naccusers++] = accuser;
    return true;
}

/* How many more accusers may confirm a suspicion: nobody but the suspect, the
 * first accuser and the others. */
static unsigned confirmations(const struct gossip *g)
{
    uint32_t others = gossip_size(g) > 2 ? gossip_size(g) - 2 : 0;

    return others < CONFIRMATIONS ? others : CONFIRMATIONS;
}

static uint64_t length_of(const struct gossip *g, const struct member *m)
{
    unsigned want = confirmations(g), have = m->naccusers - 1u;
    double size = gossip_size(g);
    double least = g->conf.suspicion * fmax(1, log10(size)) * g->conf.period;
    double most;

    most = least * g->conf.suspicion_max;
    if (have >= want)
        return (uint64_t)least;
    return (uint64_t)(most -
                      (most - least) * log(have + 1.0) / log(want + 1.0));
}

static void on_suspicion(struct timer *t);

/* Until it ends, or until the suspect is told again. */
static void wait_on(struct gossip *g, struct member *m)
{
    uint64_t again = g->clock + (uint64_t)g->conf.period * REMINDERS;
    uint64_t length = length_of(g, m);

    if (!is_accused_by(m, own_mark(g)) && again < m->since + length / 2)
        again = m->since + length / 2;
    if (again > m->since + length)
        again = m->since + length;
    m->timer.fn = on_suspicion;
    wheel_start(&g->wheel, &m->timer, again);
}

static void on_suspicion(struct timer *t)
{
    struct member *m = list_entry(t, struct member, timer);
    struct gossip *g = m->owner;

    if (g->clock < m->since + length_of(g, m)) {
        probe_remind(g, m);
        wait_on(g, m);
    } else if (suspect_is_vouched(g, m)) {
        g->counters.vetoes++;
        wheel_start(&g->wheel, t, g->clock + VETO_AGAIN);
    } else {
        g->counters.deaths++;
        merge_end(g, m, GOSSIP_DEAD);
    }
}

void suspect_begin(struct gossip *g, struct member *m,
                   const struct gossip_update *u)
{
    bool was_alive = m->pub.state == GOSSIP_ALIVE;
    bool is_news = was_alive || u->incarnation > m->pub.incarnation;
    unsigned i;

    m->pub.incarnation = u->incarnation;
    if (is_news)
        merge_state(g, m, GOSSIP_SUSPECT);
    for (i = 0; i < u->naccusers; i++)
        is_news = accuse(m, u->accusers[i]) || is_news;
    if (m->naccusers == 0)
        accuse(m, 0);
    if (!is_news)
        return;
    wait_on(g, m);
    spread_news(g, m, false);
    if (!was_alive)
        return;
    g->counters.suspicions++;
    gossip_tell(g, m, GOSSIP_SUSPECTED);
}

void suspect_silent(struct gossip *g, struct member *m)
{
    struct gossip_update u = {.state = GOSSIP_SUSPECT,
                              .incarnation = m->pub.incarnation,
                              .naccusers = 1};

    u.accusers[0] = own_mark(g);
    if (m->pub.state <= GOSSIP_SUSPECT)
        suspect_begin(g, m, &u);
}
