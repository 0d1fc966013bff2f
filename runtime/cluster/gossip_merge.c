/* gossip_merge.c - the rules: what an update changes.
 *
 * Of two statements about a member the one with the higher incarnation wins,
 * which only the member itself raises; of two with the same one, dead beats
 * suspect beats alive.  So all who have heard the same statements, in
 * whatever order, hold the same view.
 *
 * Content (name, address, meta) has the incarnation it was made in, its
 * edition.  So a refutation, which changes nothing but the incarnation, is
 * ten bytes and does not carry the content along; who lacks an edition knows
 * it, and asks. */
#include "base/assert.h"
#include "base/mem.h"
#include "cluster/gossip_inner.h"

enum {
    BOOTS = 4 /* remembered of one name */
};

static void on_tombstone_end(struct timer *t);

static struct member *of_timer(struct timer *t)
{
    return list_entry(t, struct member, timer);
}

void merge_state(struct gossip *g, struct member *m, enum gossip_state state)
{
    wheel_stop(&g->wheel, &m->timer);
    m->pub.state = (uint8_t)state;
    m->since = g->clock;
    m->naccusers = 0;
    if (state >= GOSSIP_DEAD) {
        members_bury(&g->members, m);
        m->timer.fn = on_tombstone_end;
        wheel_start(&g->wheel, &m->timer, g->clock + g->conf.tombstone);
    } else {
        members_enliven(&g->members, m);
    }
    members_digest(&g->members, m);
}

/* --- forgetting ----------------------------------------------------------- */

static void forget(struct gossip *g, struct member *m)
{
    wheel_stop(&g->wheel, &m->timer);
    news_del(&g->news, m);
    members_drop(&g->members, m);
}

static void on_tombstone_end(struct timer *t)
{
    struct member *m = of_timer(t);

    forget(m->owner, m);
}

static struct member *elder(struct member *a, struct member *b)
{
    return a == NULL || b->since < a->since ? b : a;
}

/* Room for one more boot of `name`, at the cost of the oldest tombstone. */
static bool make_room(struct gossip *g, struct slice name)
{
    struct members *ms = &g->members;
    struct member *m = NULL, *oldest = NULL;
    unsigned boots = 0;
    uint32_t i;

    while ((m = members_named(ms, name, m)) != NULL) {
        boots++;
        if (m->pub.state >= GOSSIP_DEAD && m != ms->self)
            oldest = elder(oldest, m);
    }
    if (boots >= BOOTS && oldest == NULL)
        return false;
    if (boots >= BOOTS)
        forget(g, oldest);
    if (members_count(ms) < GOSSIP_MEMBERS)
        return true;
    for (oldest = NULL, i = 0; i < ms->ndead; i++)
        oldest = elder(oldest, ms->dead[i]);
    if (oldest != NULL)
        forget(g, oldest);
    return oldest != NULL;
}

/* The dead return: of those that we hold for dead, others may, too, tables
 * may differ in much, and who is suspected may not have heard of it. */
static void reunite(struct gossip *g)
{
    struct member *m;
    uint32_t i;

    if (g->clock >= g->reunion) {
        sync_soon(g);
        for (i = 0; i < g->members.nliving; i++) {
            m = g->members.living[i];
            if (m->pub.state == GOSSIP_SUSPECT)
                spread_news(g, m, false);
        }
    }
    g->reunion = g->clock + g->conf.news_to_dead / 2;
}

/* --- ourselves ------------------------------------------------------------ */

/* Somebody says of us what is not so.  When they know an incarnation that we
 * have not had, it is from an earlier process of this boot, and so may be the
 * content they have. */
static void refute(struct gossip *g, const struct gossip_update *u)
{
    struct member *self = g->members.self;
    bool is_foreign = u->incarnation > self->pub.incarnation;

    if (u->incarnation + 1 >= GOSSIP_INCARNATIONS) {
        g->counters.bad++;
        return;
    }
    if (is_foreign)
        self->pub.incarnation = u->incarnation;
    self->pub.incarnation++;
    if (is_foreign)
        self->known = self->edition = self->pub.incarnation;
    if (u->state != GOSSIP_ALIVE) {
        g->counters.refutations++;
        probe_health(g, 1);
    }
    if (u->state == GOSSIP_DEAD)
        reunite(g);
    members_digest(&g->members, self);
    spread_news(g, self, is_foreign);
}

/* Who says again what was refuted has not heard that. */
static void merge_self(struct gossip *g, const struct gossip_update *u)
{
    struct member *self = g->members.self;
    uint64_t own = self->pub.incarnation;
    bool is_doubt = u->state != GOSSIP_ALIVE;

    if (g->is_leaving)
        return;
    if (u->incarnation > own || (is_doubt && u->incarnation == own))
        refute(g, u);
    else if (is_doubt && !news_has(self))
        spread_news(g, self, false);
}

/* --- alive ---------------------------------------------------------------- */

/* Others of its name cannot all be alive: find out soon which are. */
static void look_at_rivals(struct gossip *g, struct member *m)
{
    struct member *o = NULL;

    while ((o = members_named(&g->members, m->pub.name, o)) != NULL) {
        if (o == g->members.self)
            probe_twin(g);
        else if (o != m)
            members_soon(&g->members, o);
    }
}

/* Who was alone and got a table is new itself: what is in it is no news. */
static void merge_stranger(struct gossip *g, const struct gossip_packet *p,
                           const struct gossip_update *u)
{
    bool is_answer = p->type == GOSSIP_STATE && p->nonce == 0;
    struct member *m;

    if (!u->is_full) {
        sync_need(g, p);
        return;
    }
    if (!make_room(g, u->name)) {
        g->counters.refused++;
        return;
    }
    if (is_answer && g->members.nliving == 0)
        g->quiet = g->clock + (uint64_t)g->conf.timeout * 2;
    m = members_add(&g->members, u);
    m->owner = g;
    merge_state(g, m, GOSSIP_ALIVE);
    if (!is_answer || g->clock >= g->quiet)
        spread_news(g, m, true);
    gossip_tell(g, m, GOSSIP_JOINED);
    look_at_rivals(g, m);
}

static void merge_alive(struct gossip *g, const struct gossip_packet *p,
                        struct member *m, const struct gossip_update *u)
{
    bool is_newer = u->incarnation > m->pub.incarnation;
    bool is_content = u->is_full && u->edition > m->known;
    unsigned was = m->pub.state;
    uint64_t edition = m->edition;

    if (u->is_full && !slice_eq(u->name, m->pub.name)) {
        g->counters.bad++;
        return;
    }
    if (!is_newer && !is_content)
        return;
    if (is_content)
        members_set(m, u);
    if (u->edition > edition)
        edition = u->edition;
    m->edition = edition;
    if (m->known < m->edition)
        sync_need(g, p);
    if (is_newer) {
        m->pub.incarnation = u->incarnation;
        merge_state(g, m, GOSSIP_ALIVE);
    }
    members_digest(&g->members, m);
    if (m->pub.state >= GOSSIP_DEAD)
        return;
    spread_news(g, m, is_content);
    if (is_content)
        gossip_tell(g, m, GOSSIP_UPDATED);
    if (was == GOSSIP_DEAD)
        reunite(g);
    if (is_newer && was != GOSSIP_ALIVE)
        gossip_tell(g, m, GOSSIP_RETURNED);
}

/* --- dead ----------------------------------------------------------------- */

void merge_end(struct gossip *g, struct member *m, enum gossip_state state)
{
    merge_state(g, m, state);
    spread_news(g, m, false);
    gossip_tell(g, m, state == GOSSIP_LEFT ? GOSSIP_DEPARTED : GOSSIP_DIED);
    if (g->members.nliving == 0)
        sync_seek(g);
}

void merge_death(struct gossip *g, struct member *m)
{
    if (m->pub.state <= GOSSIP_SUSPECT)
        merge_end(g, m, GOSSIP_DEAD);
}

/* --- all of them ---------------------------------------------------------- */

/* What is said of somebody we hold for alive.  A death in a table, or of one
 * that a data link vouches for, is a suspicion: let them answer it. */
static void merge_doubt(struct gossip *g, const struct gossip_packet *p,
                        struct member *m, const struct gossip_update *u)
{
    struct gossip_update mild = *u;

    if (u->incarnation < m->pub.incarnation || m->pub.state >= GOSSIP_DEAD)
        return;
    if (u->state == GOSSIP_DEAD && suspect_is_vouched(g, m))
        g->counters.vetoes++;
    else if (u->state == GOSSIP_LEFT ||
             (u->state == GOSSIP_DEAD && p->type != GOSSIP_STATE)) {
        m->pub.incarnation = u->incarnation;
        merge_end(g, m, u->state);
        return;
    }
    if (u->state == GOSSIP_DEAD) { /* by nobody in particular */
        mild.naccusers = 1;
        mild.accusers[0] = 0;
    }
    suspect_begin(g, m, &mild);
}

static void merge_update(struct gossip *g, const struct gossip_packet *p,
                         const struct gossip_update *u)
{
    struct member *m = members_find(&g->members, u->boot);

    if (m == g->members.self)
        merge_self(g, u);
    else if (u->state != GOSSIP_ALIVE && m != NULL)
        merge_doubt(g, p, m, u);
    else if (u->state == GOSSIP_SUSPECT)
        sync_need(g, p);
    else if (u->state == GOSSIP_ALIVE && m != NULL)
        merge_alive(g, p, m, u);
    else if (u->state == GOSSIP_ALIVE)
        merge_stranger(g, p, u);
}

void merge_packet(struct gossip *g, const struct gossip_packet *p)
{
    struct slice rest = p->updates;
    struct gossip_update u;

    while (gossip_msg_next(&rest, &u))
        merge_update(g, p, &u);
}
