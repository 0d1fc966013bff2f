/* outbox_link.c - the outbox's links: what comes back over them, and what
 * happens to what was under way when one ends. */
#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/outbox_state.h"

struct outbox_link *outbox_open(struct outbox *o, void *relay, uint64_t id,
                                uint64_t now)
{
    struct outbox_link *l;
    unsigned i = 0;

    sd_check(o, OUTBOX_MAGIC);
    o->now = now > o->now ? now : o->now;
    while (i < OUTBOX_LINKS && o->link[i] != NULL)
        i++;
    if (i == OUTBOX_LINKS)
        return NULL;
    l = mem_zalloc(sizeof(*l));
    l->relay = relay;
    l->id = id;
    l->index = (uint8_t)i;
    list_init(&l->stalled);
    o->link[i] = l;
    return l;
}

/* A publish is not delivered by halves: who was too busy for it gets it later,
 * and of who was too late for it its sender hears. */
static enum frames_reason outcome_of(const struct letter *m)
{
    if (m->lane->type == FRAMES_PUBLISH && !frames_is_retry(m->worst)) {
        if (m->is_late)
            return FRAMES_EXPIRED;
        if (m->took && m->worst == FRAMES_BUSY)
            return FRAMES_NO_WAY;
    }
    return frames_outcome(m->worst, m->took);
}

/* One answer of those that a letter waits for. */
static void take_answer(struct outbox *o, struct letter *m,
                        enum frames_reason reason, unsigned flags)
{
    if (reason == 0 || (flags & FRAMES_TOOK) != 0)
        m->took = true;
    if (reason == FRAMES_LOST || reason == FRAMES_FORGOTTEN ||
        reason == FRAMES_EXPIRED || (flags & FRAMES_MAYBE) != 0)
        m->maybe = true;
    if (m->took || m->maybe || reason >= FRAMES_RETRY_END ||
        (flags & FRAMES_KNOWN) != 0)
        m->is_known = true;
    m->is_late |= reason == FRAMES_EXPIRED;
    m->worst = (uint8_t)frames_worse(m->worst, reason);
    if (--m->waiting > 0)
        return;
    if (m->lane == NULL) {
        pool_put(o, m);
        return;
    }
    m->worst = (uint8_t)outcome_of(m);
    lane_answered(o, m);
}

static int take_number(struct outbox *o, struct outbox_link *l, uint64_t number,
                       enum frames_reason reason, unsigned flags)
{
    struct letter *m = unanswered_take(&l->sent, number);

    if (m == NULL)
        return SD_EPROTO;
    l->bytes -= m->len;
    take_answer(o, m, reason, flags);
    return 0;
}

static int take_acks(struct outbox *o, struct outbox_link *l, struct slice p)
{
    struct frames_range r;
    int rc;

    while ((rc = frames_next_ack(&r, &p)) > 0) {
        for (; r.count > 0; r.count--, r.first++) {
            if (take_number(o, l, r.first, 0, 0) < 0)
                return SD_EPROTO;
        }
    }
    return rc;
}

/* Answers that leave open what has happened make a new term: copies may be
 * under way still. */
static int take_nacks(struct outbox *o, struct outbox_link *l, struct slice p)
{
    struct frames_nack n;
    bool is_open = false;
    struct slice rest = p;
    int rc;

    while ((rc = frames_next_nack(&n, &rest)) > 0)
        is_open |= n.reason == FRAMES_LOST || (n.flags & FRAMES_MAYBE) != 0;
    if (rc < 0)
        return rc;
    if (is_open)
        outbox_new_term(o);
    while (frames_next_nack(&n, &p) > 0) {
        if (take_number(o, l, n.number, n.reason, n.flags) < 0)
            return SD_EPROTO;
    }
    return 0;
}

static bool can_go(const struct outbox *o, const struct outbox_link *l,
                   const struct lane *s)
{
    return s->unsent == &s->letters ||
           link_has_window(o, l, letter_of(s->unsent)->len);
}

/* The window has room again.  Who came first goes first, however large, so
 * nobody is looked at in vain while thousands wait. */
static void pump_stalled(struct outbox *o, struct outbox_link *l)
{
    while (!list_empty(&l->stalled)) {
        struct lane *s = list_entry(l->stalled.next, struct lane, queue);

        if (!can_go(o, l, s))
            return;
        list_del(&s->queue);
        lane_pump(o, s);
    }
}

int outbox_take(struct outbox *o, struct outbox_link *l, unsigned type,
                struct slice payload, uint64_t now)
{
    int rc;

    sd_check(o, OUTBOX_MAGIC);
    o->now = now > o->now ? now : o->now;
    if (type == FRAMES_COVER)
        return cover_take(o, l, payload);
    if (type == FRAMES_ACK)
        rc = take_acks(o, l, payload);
    else if (type == FRAMES_NACK)
        rc = take_nacks(o, l, payload);
    else
        return SD_EPROTO;
    if (!list_empty(&l->stalled))
        pump_stalled(o, l);
    return rc;
}

/* What has no answer yet may have arrived, or may still: it goes again, and
 * its receivers look whether they know it. */
static void lose_all(struct outbox *o, struct outbox_link *l)
{
    struct letter *m;

    if (l->sent.count > 0)
        outbox_new_term(o);
    while ((m = unanswered_oldest(&l->sent)) != NULL)
        take_answer(o, m, FRAMES_MOVED, FRAMES_MAYBE);
}

void outbox_close(struct outbox *o, struct outbox_link *l, uint64_t now)
{
    sd_check(o, OUTBOX_MAGIC);
    o->now = now > o->now ? now : o->now;
    o->figures.breaks++;
    o->ready &= ~(UINT64_C(1) << l->index);
    cover_close(o, l);
    while (!list_empty(&l->stalled)) {
        struct lane *s = list_entry(l->stalled.next, struct lane, queue);

        list_del(&s->queue);
        if (s->in_flight == 0)
            lane_begin(o, s);
        else
            s->state = LANE_DRAINING;
    }
    lose_all(o, l);
    o->link[l->index] = NULL;
    unanswered_fini(&l->sent);
    mem_free(l);
}
