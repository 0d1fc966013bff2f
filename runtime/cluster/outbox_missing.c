/* outbox_missing.c - places that no relay leads to any more.
 *
 * The process may be alive, on its way to another relay.  So its place is
 * missing for a while, and publishes of this time are held behind their
 * answer, and go once more when it is back.  What waits for just that process
 * goes on waiting, unless it has ended.
 *
 * It has ended for sure when its slot was filled anew; and it has ended as far
 * as anybody knows when the members say so, for a second, and no relay leads
 * to it.  Who has no link at all knows nothing: then everybody is missing, for
 * as long as that lasts. */
#include "base/err.h"
#include "base/mem.h"
#include "cluster/outbox_state.h"

static struct spot *oldest(const struct outbox *o)
{
    return list_entry(o->missing.next, struct spot, missing);
}

void missing_add(struct outbox *o, struct spot *p)
{
    p->lost_at = o->now;
    list_add(&o->missing, &p->missing);
}

/* --- publishes that are held ---------------------------------------------- */

/* All that was held goes again, soon: others may come back, too. */
void missing_found(struct outbox *o)
{
    o->found++;
    if (!list_empty(&o->holding) && !timer_is_on(&o->regain))
        wheel_start(&o->waits, &o->regain, o->now + REGAIN_MS);
}

/* Each lane that holds publishes now, once; it may end meanwhile. */
static void each_holding(struct outbox *o,
                         void (*fn)(struct outbox *o, struct lane *s))
{
    struct list all;

    list_init(&all);
    while (!list_empty(&o->holding)) {
        struct list *it = o->holding.next;

        list_del(it);
        list_add(&all, it);
    }
    while (!list_empty(&all)) {
        struct lane *s = list_entry(all.next, struct lane, holding);

        list_del(&s->holding);
        list_add(&o->holding, &s->holding);
        fn(o, s);
    }
}

static void send_again(struct outbox *o, struct lane *s)
{
    if (s->state != LANE_FLOWING)
        return; /* it goes again anyway */
    list_del(&s->queue);
    s->state = LANE_DRAINING;
    lane_went_on(o, s);
}

void missing_regain(struct outbox *o)
{
    each_holding(o, send_again);
}

static void settle_held(struct outbox *o, struct lane *s)
{
    struct list *it, *next;

    list_each_safe (it, next, &s->letters) {
        struct letter *m = letter_of(it);

        if (m->is_held && m->found == o->found) {
            o->figures.missed++;
            outbox_settle(o, m, 0);
        }
    }
    lane_went_on(o, s);
}

/* --- ends ----------------------------------------------------------------- */

/* When nothing is missing any more, what was held has reached everybody, but
 * for those that came back since; to them it is about to go. */
static void forget(struct outbox *o, struct spot *p)
{
    cover_free_spot(o, p);
    if (list_empty(&o->missing) && !timer_is_on(&o->regain))
        each_holding(o, settle_held);
}

/* Epochs are serial numbers: they may come round. */
static bool is_before(const struct place *a, const struct place *b)
{
    return a->boot == b->boot && a->slot == b->slot &&
           (int16_t)(uint16_t)(a->epoch - b->epoch) < 0;
}

/* Whoever filled that slot before has ended. */
void missing_succeeded(struct outbox *o, const struct place *place)
{
    struct table_node *node = cover_first(o, place), *next;

    for (; node != NULL; node = next) {
        struct spot *p = list_entry(node, struct spot, node);

        next = table_next(node);
        if (p->relays == 0 && is_before(&p->place, place))
            forget(o, p);
    }
}

static bool has_successor(const struct outbox *o, const struct place *place)
{
    struct table_node *node = cover_first(o, place);

    while (node != NULL &&
           !is_before(place, &list_entry(node, struct spot, node)->place))
        node = table_next(node);
    return node != NULL;
}

bool missing_has_ended(const struct outbox *o, const struct lane *s)
{
    struct slice key = slice_make(s->key, s->node.number);
    struct place place;

    if (s->type != FRAMES_PLACE || o->ready == 0)
        return false;
    (void)frames_next_place(&place, &key);
    return has_successor(o, &place) ||
           (s->attempt >= LOOKS && o->calls.lives != NULL &&
            !o->calls.lives(o->calls.arg, &place));
}

/* --- time ----------------------------------------------------------------- */

/* Time without a link is no time in which they could have come back. */
void missing_linked(struct outbox *o)
{
    struct list *it;

    list_each (it, &o->missing)
        list_entry(it, struct spot, missing)->lost_at = o->now;
}

uint64_t missing_next(const struct outbox *o)
{
    if (list_empty(&o->missing) || o->ready == 0)
        return UINT64_MAX;
    return oldest(o)->lost_at + MISSING_MS;
}

/* Who comes this late stood still, and has not heard who is back. */
void missing_tick(struct outbox *o)
{
    uint64_t due = missing_next(o);

    if (due <= o->now && o->now - due >= STILL_MS)
        missing_linked(o);
    while (missing_next(o) <= o->now)
        forget(o, oldest(o));
}
