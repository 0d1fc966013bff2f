/* gossip_front.c - what the rest of the program asks of gossip. */
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "cluster/gossip_inner.h"

enum {
    GOODBYES = 32 /* members that are told at once that we leave */
};

/* --- what others ask for -------------------------------------------------- */

static bool is_seed(const struct gossip *g, const struct gossip_address *a)
{
    unsigned i;

    for (i = 0; i < g->nseeds; i++) {
        if (gossip_address_eq(&g->seeds[i], a))
            return true;
    }
    return false;
}

/* A new seed is asked although others found us before it was known: those
 * behind it may know nobody of ours. */
void gossip_seeds(struct gossip *g, const struct gossip_address *list,
                  unsigned n)
{
    struct gossip_address seeds[GOSSIP_SEEDS];
    unsigned i, kept = 0;
    bool is_new = false;

    sd_check(g, GOSSIP_MAGIC);
    for (i = 0; i < n && kept < GOSSIP_SEEDS; i++) {
        if (!gossip_address_is_sound(&list[i]))
            continue;
        is_new = is_new || !is_seed(g, &list[i]);
        seeds[kept++] = list[i];
    }
    memcpy(g->seeds, seeds, kept * sizeof(*seeds));
    g->nseeds = kept;
    if (is_new || !gossip_is_joined(g))
        sync_seek(g);
}

void gossip_heard(struct gossip *g, uint64_t now, uint64_t boot,
                  const struct gossip_address *address)
{
    const struct gossip_member *m = gossip_find(g, boot);

    sd_check(g, GOSSIP_MAGIC);
    gossip_advance(g, now);
    if ((m == NULL || m->state == GOSSIP_DEAD) &&
        gossip_address_is_sound(address))
        sync_ask(g, address);
}

/* Our own record is new. */
static void raise_self(struct gossip *g, bool is_full)
{
    struct member *self = g->members.self;

    if (self->pub.incarnation + 1 < GOSSIP_INCARNATIONS)
        self->pub.incarnation++;
    if (is_full)
        self->known = self->edition = self->pub.incarnation;
    members_digest(&g->members, self);
    spread_news(g, self, is_full);
}

int gossip_set_meta(struct gossip *g, uint64_t now, struct slice meta)
{
    struct member *self = g->members.self;
    struct gossip_update u;

    sd_check(g, GOSSIP_MAGIC);
    if (meta.len > GOSSIP_META)
        return SD_ETOOLARGE;
    gossip_advance(g, now);
    if (slice_eq(meta, self->pub.meta) || g->is_leaving)
        return 0;
    u = spread_update(self, true);
    u.meta = meta;
    members_set(self, &u);
    raise_self(g, true);
    return 0;
}

void gossip_leave(struct gossip *g, uint64_t now)
{
    sd_check(g, GOSSIP_MAGIC);
    if (g->is_leaving)
        return;
    gossip_advance(g, now);
    g->is_leaving = true;
    g->members.self->pub.state = GOSSIP_LEFT;
    raise_self(g, false);
    spread_round(g, GOODBYES);
}

bool gossip_has_left(const struct gossip *g)
{
    return g->is_leaving &&
           (g->members.nliving == 0 || !news_has(g->members.self));
}

void gossip_vouch(struct gossip *g, uint64_t now, uint64_t boot, uint64_t age)
{
    struct member *m = members_find(&g->members, boot);
    uint64_t until;

    sd_check(g, GOSSIP_MAGIC);
    gossip_advance(g, now);
    if (m == NULL || age >= g->conf.vouched)
        return;
    until = g->clock + g->conf.vouched - age;
    if (until > m->vouched)
        m->vouched = until;
    m->linked = g->round;
    probe_on_vouch(g, boot, age);
}

void gossip_vouch_end(struct gossip *g, uint64_t now)
{
    struct member *m, *lost = NULL;
    uint32_t i;

    sd_check(g, GOSSIP_MAGIC);
    gossip_advance(g, now);
    for (i = 0; i < g->members.nliving; i++) {
        m = g->members.living[i];
        if (m->linked + 1 != g->round)
            continue;
        m->vouched = 0;
        lost = m;
    }
    if (lost != NULL)
        members_soon(&g->members, lost);
    g->round++;
}

/* --- looking -------------------------------------------------------------- */

bool gossip_is_joined(const struct gossip *g)
{
    return g->members.nliving > 0;
}

const struct gossip_member *gossip_self(const struct gossip *g)
{
    return &g->members.self->pub;
}

const struct gossip_member *gossip_find(const struct gossip *g, uint64_t boot)
{
    const struct member *m = members_find(&g->members, boot);

    return m != NULL ? &m->pub : NULL;
}

unsigned gossip_living(const struct gossip *g)
{
    return g->members.nliving;
}

unsigned gossip_count(const struct gossip *g)
{
    return g->members.nliving + g->members.ndead;
}

const struct gossip_member *gossip_at(const struct gossip *g, unsigned i)
{
    const struct members *ms = &g->members;

    sd_assert(i < gossip_count(g));
    return i < ms->nliving ? &ms->living[i]->pub
                           : &ms->dead[i - ms->nliving]->pub;
}

const struct gossip_counters *gossip_counters(const struct gossip *g)
{
    return &g->counters;
}

unsigned gossip_awareness(const struct gossip *g)
{
    return g->awareness;
}

const char *gossip_state_name(unsigned state)
{
    static const char *const names[] = {
        [GOSSIP_ALIVE] = "alive",
        [GOSSIP_SUSPECT] = "suspect",
        [GOSSIP_DEAD] = "dead",
        [GOSSIP_LEFT] = "left",
    };

    return state <= GOSSIP_LEFT ? names[state] : "unknown";
}
