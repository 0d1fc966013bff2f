/* hub_answer.c - answers of receivers become one for the sender. */
#include "base/err.h"
#include "base/mem.h"
#include "cluster/hub_state.h"

enum {
    TRANSITS_KEPT = 16 * 1024 /* free blocks */
};

static void make_dirty(struct hub *h, struct hub_link *l)
{
    if (list_empty(&l->dirty))
        list_add(&h->dirty, &l->dirty);
}

static void count_nack(struct hub_figures *f, enum frames_reason reason)
{
    f->nacked++;
    f->busy += reason == FRAMES_BUSY;
    f->unknown += reason == FRAMES_UNKNOWN;
    f->no_way += reason == FRAMES_NO_WAY;
    f->moved += reason == FRAMES_MOVED;
    f->lost += reason == FRAMES_LOST;
}

static void answer(struct hub *h, struct hub_link *l,
                   const struct frames_nack *n)
{
    make_dirty(h, l);
    if (n->reason == 0) {
        h->figures.acked++;
        answers_ack(&l->answers, n->number);
    } else {
        count_nack(&h->figures, n->reason);
        answers_nack(&l->answers, n);
    }
}

void hub_reply(struct hub *h, struct hub_link *l, uint64_t number,
               enum frames_reason reason)
{
    struct frames_nack n = {number, reason, 0};

    answer(h, l, &n);
}

static void free_transit(struct hub *h, struct transit *t)
{
    h->figures.transits--;
    if (h->free_transits == TRANSITS_KEPT) {
        mem_free(t);
        return;
    }
    t->next = h->free_transit;
    h->free_transit = t;
    h->free_transits++;
}

/* Of a publish, which is to nobody's uid, each receiver counts. */
static enum frames_reason outcome_of(const struct transit *t)
{
    if (t->uid == 0 && t->is_late && !frames_is_retry(t->worst))
        return FRAMES_EXPIRED;
    return frames_outcome(t->worst, t->took);
}

/* All receivers have answered. */
void hub_answer(struct hub *h, struct transit *t)
{
    struct hub_link *l = h->link[t->from];
    struct frames_nack n = {t->number, outcome_of(t), 0};

    if (t->took)
        n.flags |= FRAMES_TOOK;
    if (t->maybe)
        n.flags |= FRAMES_MAYBE;
    if (t->is_known)
        n.flags |= FRAMES_KNOWN;
    if (l != NULL && l->generation == t->generation)
        answer(h, l, &n);
    free_transit(h, t);
}

/* A receiver has answered, or its link has ended. */
static int take(struct hub *h, struct hub_link *l, const struct frames_nack *n)
{
    struct transit *t = unanswered_take(&l->sent, n->number);

    if (t == NULL)
        return SD_EPROTO;
    l->bytes -= t->len;
    if (n->reason == FRAMES_NOT_HERE && t->uid != 0)
        hub_cache_drop(h->cache, t->uid, &l->place);
    t->worst = (uint8_t)frames_worse(t->worst, n->reason);
    t->took |= n->reason == 0;
    t->is_known |= n->reason >= FRAMES_RETRY_END;
    t->maybe |= n->reason == FRAMES_LOST || n->reason == FRAMES_FORGOTTEN ||
                n->reason == FRAMES_EXPIRED;
    t->is_late |= n->reason == FRAMES_EXPIRED;
    if (--t->waiting == 0)
        hub_answer(h, t);
    return 0;
}

int hub_take_acks(struct hub *h, struct hub_link *l, struct slice p)
{
    struct frames_range r;
    int rc;

    while ((rc = frames_next_ack(&r, &p)) > 0) {
        struct frames_nack n = {r.first, 0, 0};

        for (; r.count > 0; r.count--, n.number++) {
            if (take(h, l, &n) < 0)
                return SD_EPROTO;
        }
    }
    return rc;
}

int hub_take_nacks(struct hub *h, struct hub_link *l, struct slice p)
{
    struct frames_nack n;
    int rc;

    while ((rc = frames_next_nack(&n, &p)) > 0) {
        if (take(h, l, &n) < 0)
            return SD_EPROTO;
    }
    return rc;
}

void hub_lose_all(struct hub *h, struct hub_link *l)
{
    struct transit *t;

    while ((t = unanswered_oldest(&l->sent)) != NULL) {
        t->worst = (uint8_t)frames_worse(t->worst, FRAMES_LOST);
        t->maybe = true;
        if (--t->waiting == 0)
            hub_answer(h, t);
    }
}
