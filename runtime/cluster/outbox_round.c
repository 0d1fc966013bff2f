/* outbox_round.c - in which order the messages to one name go, and go again.
 *
 * A lane sends in rounds.  In a round each letter names the one before it,
 * and a receiver that has not seen that one refuses: so what one letter
 * missed, because it was lost or its uid was elsewhere, no later one can
 * overtake, whatever the relays did.  The first letter of a round, and one
 * before which everything is settled, names nobody.
 *
 * When an answer says "again", the lane drains: nothing more is sent until
 * all answers of the round are here.  Then, perhaps after asking for the
 * places of the uid, the next round sends everything that is left, in order.
 * A link that broke has answered everything, with "lost". */
#include "base/assert.h"
#include "base/err.h"
#include "cluster/outbox_state.h"

/* Without any relay for the first of them, which wakes all. */
void lane_wait(struct outbox *o, struct lane *s)
{
    unsigned shift = s->attempt < 8 ? s->attempt : 8;
    uint64_t ms = (uint64_t)WAIT_FIRST << shift;

    s->state = LANE_WAITING;
    if (s->attempt < UINT8_MAX)
        s->attempt++;
    list_del(&s->queue);
    list_add(&o->waiting, &s->queue);
    if (o->ready != 0)
        wheel_start(&o->waits, &s->wait,
                    o->now + (ms < WAIT_MOST ? ms : WAIT_MOST));
}

/* A question may be lost with the script that was to answer it. */
static void resolve(struct outbox *o, struct lane *s)
{
    struct slice uid = {s->key, s->node.number};

    s->state = LANE_RESOLVING;
    s->asks = false;
    list_del(&s->queue);
    wheel_start(&o->waits, &s->wait, o->now + ASK_AGAIN);
    lane_drop_spots(s);
    o->figures.resolves++;
    o->calls.resolve(o->calls.arg, &uid);
}

static void give_up(struct outbox *o, struct letter *m, int outcome)
{
    bool has_missed = m->lane->type == FRAMES_PUBLISH && m->is_late;

    if (m->took && !has_missed)
        outcome = 0;
    else if ((m->maybe || m->waiting > 0) && outcome != SD_ETIMEOUT)
        outcome = SD_ECLOSED;
    outbox_settle(o, m, outcome);
}

void lane_settle_all(struct outbox *o, struct lane *s, int outcome)
{
    struct list *it, *next;

    list_each_safe (it, next, &s->letters)
        give_up(o, letter_of(it), outcome);
    (void)lane_free_if_empty(o, s);
}

/* Held publishes go again, too. */
static void end_holding(struct outbox *o, struct lane *s)
{
    struct list *it;

    if (s->held == 0)
        return;
    list_each (it, &s->letters)
        letter_of(it)->is_held = false;
    o->held -= s->held;
    s->held = 0;
    list_del(&s->holding);
}

static void wait_for_relay(struct outbox *o, struct lane *s)
{
    if (missing_has_ended(o, s))
        lane_settle_all(o, s, SD_EGONE);
    else
        lane_wait(o, s);
}

void lane_pick(struct outbox *o, struct lane *s)
{
    s->relays = cover_pick(o, s);
    s->cover = o->cover;
}

void lane_begin(struct outbox *o, struct lane *s)
{
    struct list *it, *next;

    sd_assert(s->in_flight == 0);
    list_each_safe (it, next, &s->letters) {
        if (letter_of(it)->tries >= OUTBOX_TRIES)
            give_up(o, letter_of(it), SD_EOFFLINE);
        else if (s->is_flooding && letter_of(it)->is_newest)
            give_up(o, letter_of(it), SD_EUNAVAILABLE);
    }
    if (lane_free_if_empty(o, s))
        return;
    list_del(&s->queue);
    wheel_stop(&o->waits, &s->wait);
    end_holding(o, s);
    s->unsent = s->letters.next;
    s->last = 0;
    lane_pick(o, s);
    if (s->relays == 0) {
        wait_for_relay(o, s);
        return;
    }
    s->state = LANE_FLOWING;
    s->asks = false;
    lane_pump(o, s);
}

/* All answers of a round are here. */
static void step(struct outbox *o, struct lane *s)
{
    if (lane_free_if_empty(o, s))
        return;
    if (!s->asks && s->rounds < ROUNDS_AT_ONCE) {
        s->rounds++;
        lane_begin(o, s);
    } else if (s->asks && s->type == FRAMES_UID && s->attempt == 0) {
        s->attempt++;
        resolve(o, s);
    } else {
        lane_wait(o, s);
    }
}

void lane_on_wait(struct outbox *o, struct lane *s)
{
    bool asks = s->asks || s->spots.len > 0;

    sd_assert(s->state == LANE_WAITING || s->state == LANE_RESOLVING);
    if (s->state == LANE_RESOLVING ||
        (s->type == FRAMES_UID && asks && o->ready != 0))
        resolve(o, s);
    else
        lane_begin(o, s);
}

void lane_went_on(struct outbox *o, struct lane *s)
{
    if (s->state == LANE_DRAINING && s->in_flight == 0)
        step(o, s);
    else
        (void)lane_free_if_empty(o, s);
}

static void again(struct lane *s, struct letter *m, enum frames_reason reason)
{
    if (reason == FRAMES_NOT_HERE)
        m->tries++;
    m->is_late = false; /* who is still too late for it says so again */
    s->asks |= reason == FRAMES_NOT_HERE || reason >= FRAMES_UNKNOWN;
    s->state = LANE_DRAINING;
    list_del(&s->queue);
}

static void hold(struct outbox *o, struct lane *s, struct letter *m)
{
    m->is_held = true;
    o->held++;
    if (s->held++ == 0)
        list_add(&o->holding, &s->holding);
}

/* A publish that places had no link for: those that came back since shall get
 * it, and those that have not may still come. */
static void took_some(struct outbox *o, struct lane *s, struct letter *m)
{
    if (m->found != o->found) {
        again(s, m, FRAMES_MOVED);
    } else if (cover_lacks(o) && o->held < o->max.held) {
        hold(o, s, m);
    } else {
        o->figures.missed++;
        outbox_settle(o, m, 0);
    }
}

void lane_answered(struct outbox *o, struct letter *m)
{
    enum frames_reason reason = m->worst;
    struct lane *s = m->lane;

    m->worst = 0;
    s->in_flight--;
    if (reason == 0) {
        s->attempt = s->rounds = 0;
        if (m->lacks)
            took_some(o, s, m);
        else
            outbox_settle(o, m, 0);
    } else if (frames_is_retry(reason)) {
        again(s, m, reason);
    } else {
        give_up(o, m, frames_error(reason));
    }
    lane_went_on(o, s);
}
