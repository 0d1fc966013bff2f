/* rivals.c - see rivals.h.
 *
 * Of two workers that bind a uid at the same time at least one sees the other,
 * for both write before they look.  With UIDS_KICK the higher number stays.
 * With UIDS_REFUSE a binding is on trial until its worker has looked, and the
 * lower number on trial wins; who sees a higher one looks again until that one
 * has made up its mind, because it may have looked too early to see us. */
#include "vm/rivals.h"

#include "base/clock.h"
#include "base/err.h"
#include "ipc/uidmap.h"
#include "vm/people.h"

/* In the number of a binding that is not on trial. */
#define SETTLED (UINT64_C(1) << 63)

enum {
    LOOKS = 1000 /* at somebody who does not make up his mind */
};

struct rivals {
    struct people *people;
    unsigned self;
    uint64_t number; /* ours, settled */
    uint64_t highest;
    unsigned settled, newer;            /* of the settled ones */
    unsigned trial_before, trial_after; /* on trial, with lower, higher ones */
    bool is_told;
};

/* Of bindings with one number, that of the lower slot is the older one. */
static bool is_older(const struct rivals *r, uint64_t number, unsigned slot)
{
    return number < r->number || (number == r->number && slot < r->self);
}

static bool on_rival(void *arg, const struct uidmap_binding *b)
{
    struct rivals *r = arg;
    struct uidmap_binding found = *b;
    bool is_settled = (b->number & SETTLED) != 0, older;

    if (b->slot == r->self)
        return true;
    found.number |= SETTLED;
    older = is_older(r, found.number, b->slot);
    r->highest = found.number > r->highest ? found.number : r->highest;
    r->settled += is_settled;
    r->newer += is_settled && !older;
    r->trial_before += !is_settled && older;
    r->trial_after += !is_settled && !older;
    if (r->is_told && (older || !is_settled))
        r->people->on_rival(r->people->arg, &found);
    return true;
}

static struct rivals rivals_of(struct people *p, struct slice uid,
                               uint64_t number, bool is_told)
{
    struct rivals r = {.people = p,
                       .self = p->slot,
                       .number = number,
                       .is_told = is_told && p->on_rival != NULL};

    uidmap_find(p->map, uid, on_rival, &r);
    return r;
}

static bool stands_trial(struct people *p, struct slice uid, uint64_t number)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        struct rivals r = rivals_of(p, uid, number, false);

        if (r.settled > 0 || r.trial_before > 0)
            return false;
        if (r.trial_after == 0)
            return true;
    }
    return false;
}

/* What the conn was bound to ends now; the caller of rivals_bind() tells. */
static void end_other(struct people *p, struct member *m, struct slice uid)
{
    struct slice had = {NULL, 0};

    if (uids_is_bound(&m->binding))
        had = uids_name(&m->binding);
    if (had.len == 0 || slice_eq(had, uid))
        return;
    m->debt = uidmap_end(p->map, had, m->id, &m->was_last);
    m->has_ended = true;
}

/* It was refused: it keeps what it had. */
static void restore(struct people *p, struct member *m)
{
    uidmap_settle(p->map, m->debt);
    m->debt = 0;
    m->has_ended = false;
    if (uids_is_bound(&m->binding))
        uidmap_bind(p->map, uids_name(&m->binding), m->id, m->number);
}

int rivals_bind(struct people *p, struct member *m, struct slice uid,
                enum uids_policy policy)
{
    struct rivals r = rivals_of(p, uid, 0, false);
    uint64_t wall = (uint64_t)clock_wall_ms(), number;
    uint64_t above = (r.highest & ~SETTLED) + 1;

    if (policy == UIDS_REFUSE && r.settled > 0)
        return SD_EREFUSED;
    number = uidmap_number(p->map, wall > above ? wall : above);
    end_other(p, m, uid);
    if (uidmap_bind(p->map, uid, m->id,
                    policy == UIDS_REFUSE ? number : number | SETTLED) < 0) {
        restore(p, m);
        return SD_EBUSY;
    }
    number |= SETTLED;
    if (policy == UIDS_REFUSE && !stands_trial(p, uid, number)) {
        uidmap_unbind(p->map, uid, m->id, NULL);
        restore(p, m);
        return SD_EREFUSED;
    }
    if (policy == UIDS_REFUSE)
        uidmap_bind(p->map, uid, m->id, number);
    m->number = number;
    return 0;
}

bool rivals_kick(struct people *p, const struct member *m, struct slice uid)
{
    struct rivals r = rivals_of(p, uid, m->number, true);

    return r.newer > 0;
}
