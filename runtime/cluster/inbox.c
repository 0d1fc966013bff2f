/* inbox.c - see inbox.h.
 *
 * The checks, in this order, and what each is for:
 *
 *      a copy of an older term     the sender lost sight of it and went on;
 *                                  whatever it sent since could be overtaken
 *      an id that was seen         sent again: the same answer again
 *      an id that was forgotten    ... if it was: nobody knows
 *      no life left                its sender has given it up
 *      no conn of the uid          the sender looks where it is now
 *      the one before not seen     it was lost or refused on the way, and
 *                                  comes again, before this one
 *
 * Refused like this a message leaves no trace here.  Anything else is final,
 * and is remembered with its outcome before the next one is looked at. */
#include "cluster/inbox.h"

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/answers.h"
#include "cluster/inbox_seen.h"

#define INBOX_MAGIC 0x1b0c5e4du

enum {
    LINKS = 64
};

struct inbox_link {
    void *relay;
    uint64_t taken; /* number of its last data frame */
    uint32_t owed;  /* of them without answer */
    uint32_t index, generation;
    bool is_dirty;
    struct answers answers;
};

struct inbox {
    unsigned magic;
    struct inbox_calls calls;
    struct inbox_figures figures;
    struct seens *seens;
    uint64_t now;
    uint32_t openings;
    struct inbox_link *link[LINKS];
};

struct inbox *inbox_new(const struct inbox_calls *calls,
                        const struct inbox_limits *limits)
{
    struct inbox *i = mem_zalloc(sizeof(*i));

    i->magic = INBOX_MAGIC;
    i->calls = *calls;
    i->seens = seens_new(limits->seen > 0 ? limits->seen : 1 << 19,
                         limits->sources > 0 ? limits->sources : 1 << 16);
    return i;
}

void inbox_free(struct inbox **ip)
{
    struct inbox *i = *ip;
    unsigned n;

    if (i == NULL)
        return;
    sd_check(i, INBOX_MAGIC);
    for (n = 0; n < LINKS; n++) {
        if (i->link[n] != NULL)
            inbox_close(i, i->link[n]);
    }
    seens_free(&i->seens);
    i->magic = 0;
    mem_free(i);
    *ip = NULL;
}

struct inbox_link *inbox_open(struct inbox *i, void *relay)
{
    struct inbox_link *l;
    unsigned n = 0;

    sd_check(i, INBOX_MAGIC);
    while (n < LINKS && i->link[n] != NULL)
        n++;
    if (n == LINKS)
        return NULL;
    l = mem_zalloc(sizeof(*l));
    l->relay = relay;
    l->index = n;
    l->generation = ++i->openings;
    i->link[n] = l;
    return l;
}

void inbox_close(struct inbox *i, struct inbox_link *l)
{
    sd_check(i, INBOX_MAGIC);
    i->link[l->index] = NULL;
    answers_fini(&l->answers);
    mem_free(l);
}

/* --- answers -------------------------------------------------------------- */

static void answer(struct inbox_link *l, uint64_t number,
                   enum frames_reason reason)
{
    struct frames_nack n = {number, reason, 0};

    l->owed--;
    l->is_dirty = true;
    if (reason == 0)
        answers_ack(&l->answers, number);
    else
        answers_nack(&l->answers, &n);
}

static void refuse(struct inbox_link *l, enum frames_reason reason,
                   uint64_t *figure)
{
    (*figure)++;
    answer(l, l->taken, reason);
}

static enum frames_reason reason_of(int outcome)
{
    return outcome == 0 ? 0 : frames_reason_of(outcome);
}

static void count(struct inbox *i, int outcome)
{
    if (outcome == 0)
        i->figures.delivered++;
    else
        i->figures.refused++;
}

void inbox_settle(struct inbox *i, uint64_t token, int outcome)
{
    struct seen *e = (struct seen *)(uintptr_t)token;
    struct seen_waiter *w;

    sd_check(i, INBOX_MAGIC);
    sd_assert(e->outcome == INBOX_LATER && outcome <= 0);
    if (outcome == SD_EOFFLINE)
        outcome = SD_EGONE; /* it was here */
    count(i, outcome);
    for (w = e->waiters; w != NULL; w = w->next) {
        struct inbox_link *l = i->link[w->link];

        if (l != NULL && l->generation == w->generation)
            answer(l, w->number, reason_of(outcome));
    }
    seens_settle(i->seens, e, outcome);
}

struct flush {
    struct inbox *i;
    struct inbox_link *l;
};

static void emit_answers(void *arg, unsigned type, struct slice p)
{
    struct flush *f = arg;

    f->i->calls.emit(f->i->calls.arg, f->l->relay, type, &p, 1);
}

void inbox_turn(struct inbox *i)
{
    unsigned n;

    sd_check(i, INBOX_MAGIC);
    for (n = 0; n < LINKS; n++) {
        struct flush f = {i, i->link[n]};

        if (f.l != NULL && f.l->is_dirty) {
            f.l->is_dirty = false;
            answers_flush(&f.l->answers, emit_answers, &f);
        }
    }
}

/* --- what comes ----------------------------------------------------------- */

static void take_double(struct inbox *i, struct inbox_link *l, struct seen *e)
{
    if (e->outcome == INBOX_LATER) {
        i->figures.doubles++;
        seens_wait(e, l->taken, l->index, l->generation);
        return;
    }
    refuse(l, reason_of(e->outcome), &i->figures.doubles);
}

/* Was it here before?  Then it is answered. */
static bool was_seen(struct inbox *i, struct inbox_link *l,
                     const struct source *from, const struct frames_data *d)
{
    struct seen *e;

    if ((d->order.flags & FRAMES_AGAIN) == 0)
        return false;
    e = seens_find(i->seens, from, d->head.counter);
    if (e != NULL) {
        take_double(i, l, e);
        return true;
    }
    if (d->head.counter > from->floor)
        return false;
    refuse(l, FRAMES_FORGOTTEN, &i->figures.forgotten);
    return true;
}

/* Has the one before it been here, or is that settled? */
static bool is_next(const struct inbox *i, const struct source *from,
                    const struct frames_data *d)
{
    uint64_t prev = d->head.counter - d->order.prev_back;

    return d->order.prev_back == 0 || prev < from->base ||
           seens_find(i->seens, from, prev) != NULL;
}

/* Who shares it is shown too much, which does no harm. */
static uint32_t hash_uid(struct slice uid)
{
    uint32_t x = 2166136261u;
    size_t n;

    for (n = 0; n < uid.len; n++)
        x = (x ^ (unsigned char)uid.p[n]) * 16777619u;
    return x | 1;
}

static void hand_over(struct inbox *i, struct inbox_link *l,
                      struct source *from, const struct frames_data *d)
{
    struct seen *e;
    int outcome;

    if (seens_is_full(i->seens)) {
        refuse(l, FRAMES_BUSY, &i->figures.busy);
        return;
    }
    e = seens_add(i->seens, from, d->head.counter, i->now);
    if (d->type == FRAMES_UID)
        e->uid = hash_uid(d->name);
    outcome = i->calls.deliver(i->calls.arg, d, (uint64_t)(uintptr_t)e);

    if (outcome == INBOX_LATER) {
        i->figures.later++;
        seens_wait(e, l->taken, l->index, l->generation);
        return;
    }
    if (outcome == SD_EOFFLINE && d->type == FRAMES_UID) {
        seens_remove(i->seens, e);
        refuse(l, FRAMES_NOT_HERE, &i->figures.not_here);
        return;
    }
    if (outcome == SD_EOFFLINE)
        outcome = SD_EGONE; /* there is no other place to look */
    count(i, outcome);
    seens_settle(i->seens, e, outcome);
    answer(l, l->taken, reason_of(outcome));
}

static void take(struct inbox *i, struct inbox_link *l, struct source *from,
                 const struct frames_data *d)
{
    uint64_t base = d->head.counter - d->order.base_back;

    if (from->base < base)
        from->base = base;
    if (d->order.term < from->term || d->head.counter < from->base) {
        refuse(l, FRAMES_STALE, &i->figures.stale);
        return;
    }
    from->term = d->order.term;
    if (was_seen(i, l, from, d))
        return;
    if (d->head.life_ms == 0)
        refuse(l, FRAMES_EXPIRED, &i->figures.expired);
    else if (d->type == FRAMES_UID && !i->calls.has(i->calls.arg, &d->name))
        refuse(l, FRAMES_NOT_HERE, &i->figures.not_here);
    else if (!is_next(i, from, d))
        refuse(l, FRAMES_GAP, &i->figures.gaps);
    else
        hand_over(i, l, from, d);
}

int inbox_take(struct inbox *i, struct inbox_link *l, unsigned type,
               struct slice payload, uint32_t waited, uint64_t now)
{
    struct frames_data d;
    struct source *from;

    sd_check(i, INBOX_MAGIC);
    i->now = now > i->now ? now : i->now;
    if (l->owed == INBOX_OWED || frames_read_data(&d, type, payload) < 0)
        return SD_EPROTO;
    l->taken++;
    l->owed++;
    i->figures.taken++;
    (void)wire_age(&d.head, waited);
    from = seens_source(i->seens,
                        &(struct place){d.head.boot, d.head.epoch, d.head.slot},
                        i->now);
    if (from == NULL)
        refuse(l, FRAMES_BUSY, &i->figures.busy);
    else
        take(i, l, from, &d);
    return 0;
}

/* --- conns that go to another process ------------------------------------ */

struct show {
    void (*fn)(void *arg, const struct inbox_note *n);
    void *arg;
};

static void show(void *arg, const struct source *from, uint64_t last)
{
    struct inbox_note n = {from->place, last, from->term};
    const struct show *s = arg;

    s->fn(s->arg, &n);
}

void inbox_show(struct inbox *i, struct slice uid,
                void (*fn)(void *arg, const struct inbox_note *n), void *arg)
{
    struct show s = {fn, arg};

    sd_check(i, INBOX_MAGIC);
    seens_each_source(i->seens, hash_uid(uid), show, &s);
}

void inbox_note(struct inbox *i, const struct inbox_note *n, uint64_t now)
{
    struct source *from;

    sd_check(i, INBOX_MAGIC);
    i->now = now > i->now ? now : i->now;
    from = seens_source(i->seens, &n->from, i->now);
    if (from != NULL && from->term < n->term)
        from->term = n->term;
}

void inbox_tick(struct inbox *i, uint64_t now)
{
    sd_check(i, INBOX_MAGIC);
    i->now = now > i->now ? now : i->now;
    seens_tick(i->seens, i->now);
}

const struct inbox_figures *inbox_figures(const struct inbox *i)
{
    struct inbox_figures *f = (struct inbox_figures *)(uintptr_t)&i->figures;

    f->seen = seens_count(i->seens);
    f->sources = seens_sources(i->seens);
    f->pending = seens_pending(i->seens);
    f->evicted = seens_evicted(i->seens);
    return f;
}
