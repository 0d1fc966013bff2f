/* teller.c - see teller.h.
 *
 * Order within a link is what keeps it right.  A slice shows what is held when
 * it is written, and a change is written when it happens; so whatever a relay
 * heard last of a filter is true, however the two mix.  A filter may be told
 * twice, which means nothing.  Those without a holder are in teller_leaving.c.
 *
 * Memory is bounded: slices wait for room in the link, and so do relays that
 * changes cannot reach in time.  Such a one is told to forget all, which is
 * one short frame, and once it has room, everything from the beginning.  How
 * much of what a link holds is ours is not known; it is at most what we have
 * written, and at most all of it. */
#include "cluster/teller.h"

#include "base/assert.h"
#include "base/mem.h"
#include "cluster/teller_state.h"

enum {
    AGAIN_MS = 1
};

/* --- to one relay --------------------------------------------------------- */

static void emit(struct teller *t, struct hearer *h,
                 const struct frames_interest *i)
{
    char bytes[2 + FRAMES_NAME_LENGTH];
    size_t len = frames_write_interest(bytes, i);

    h->ours += len;
    t->figures.told += i->op == FRAMES_ADD;
    t->calls.emit(t->calls.arg, h->relay, slice_make(bytes, len));
}

static bool has_room(const struct teller *t, struct hearer *h, size_t most)
{
    size_t unsent;

    if (h->ours <= most)
        return true;
    unsent = t->calls.unsent(t->calls.arg, h->relay);
    if (h->ours > unsent)
        h->ours = unsent;
    return h->ours <= most;
}

static void set_state(struct teller *t, struct hearer *h,
                      enum hearer_state state)
{
    t->figures.known -= h->state == HEARER_KNOWS;
    t->figures.known += state == HEARER_KNOWS;
    h->state = state;
}

/* Whatever it knows of us, it sends everything from now on. */
static void reset(struct teller *t, struct hearer *h, enum hearer_state state)
{
    emit(t, h, &(struct frames_interest){.op = FRAMES_RESET});
    t->figures.resets++;
    set_state(t, h, state);
}

/* --- changes -------------------------------------------------------------- */

void teller_tell(struct teller *t, const struct frames_interest *change)
{
    struct list *it;

    list_each (it, &t->hearers) {
        struct hearer *h = list_entry(it, struct hearer, node);

        if (h->state != HEARER_LEARNS && h->state != HEARER_KNOWS)
            continue;
        if (has_room(t, h, t->max.behind))
            emit(t, h, change);
        else
            reset(t, h, HEARER_BEHIND);
    }
}

static uint32_t count(const struct teller *t)
{
    return topics_filters(t->topics) + topics_filters(t->groups);
}

static void go_over(struct teller *t)
{
    struct list *it;

    t->is_over = true;
    list_each (it, &t->hearers)
        reset(t, list_entry(it, struct hearer, node), HEARER_IS_FULL);
    t->calls.on_over(t->calls.arg, true);
}

static void come_back(struct teller *t)
{
    struct list *it;

    t->is_over = false;
    list_each (it, &t->hearers)
        set_state(t, list_entry(it, struct hearer, node), HEARER_BEHIND);
    t->calls.on_over(t->calls.arg, false);
}

static void change(struct teller *t, enum frames_kind kind, struct slice filter,
                   bool is_held)
{
    struct frames_interest add = {
        .op = FRAMES_ADD, .kind = kind, .name = filter};

    sd_check(t, TELLER_MAGIC);
    if (!is_held)
        leaving_add(t, kind, filter);
    else if (!t->is_over &&
             count(t) > t->max.filters - t->max.filters / TELLER_SHARE)
        go_over(t); /* a relay has these and what lingers */
    else
        teller_tell(t, &add);
}

static void on_topic(void *arg, struct slice filter, bool is_held)
{
    change(arg, FRAMES_TOPIC, filter, is_held);
}

static void on_group(void *arg, struct slice filter, bool is_held)
{
    change(arg, FRAMES_GROUP, filter, is_held);
}

/* --- everything ----------------------------------------------------------- */

struct slice_of {
    struct teller *t;
    struct hearer *h;
    uint32_t *left;
};

static void show(void *arg, struct slice filter)
{
    struct slice_of *s = arg;

    emit(s->t, s->h,
         &(struct frames_interest){
             .op = FRAMES_ADD, .kind = s->h->kind, .name = filter});
    if (*s->left > 0)
        --*s->left;
}

/* One look at the filters; the last one ends with COMPLETE. */
static void step(struct slice_of *s)
{
    struct hearer *h = s->h;

    topics_scan(teller_topics(s->t, h->kind), &h->cursor, show, s);
    if (h->cursor != 0)
        return;
    if (h->kind == FRAMES_TOPIC) {
        h->kind = FRAMES_GROUP;
        return;
    }
    emit(s->t, h, &(struct frames_interest){.op = FRAMES_COMPLETE});
    set_state(s->t, h, HEARER_KNOWS);
}

/* Takes what it does off *left. */
static void learn(struct teller *t, struct hearer *h, uint32_t *left)
{
    struct slice_of s = {t, h, left};

    if (h->state == HEARER_BEHIND && has_room(t, h, t->max.room / 2)) {
        set_state(t, h, HEARER_LEARNS);
        h->kind = FRAMES_TOPIC;
        h->cursor = 0;
    }
    while (h->state == HEARER_LEARNS && *left > 0 &&
           has_room(t, h, t->max.room)) {
        --*left; /* also for a look that finds nothing */
        step(&s);
    }
}

static bool is_done(const struct hearer *h)
{
    return h->state == HEARER_KNOWS || h->state == HEARER_IS_FULL;
}

uint32_t teller_turn(struct teller *t, uint64_t now)
{
    struct list *it;
    uint32_t left = t->max.slice;
    bool is_busy = false;

    sd_check(t, TELLER_MAGIC);
    if (t->is_over && count(t) <= t->max.filters / 2)
        come_back(t);
    leaving_end_some(t, now);
    list_each (it, &t->hearers) {
        struct hearer *h = list_entry(it, struct hearer, node);

        learn(t, h, &left);
        is_busy |= !is_done(h);
    }
    if (is_busy || (!list_empty(&t->old) && now >= t->old_at))
        return AGAIN_MS;
    return t->figures.leaving > 0 ? (uint32_t)(t->old_at - now) : 0;
}

/* --- life ----------------------------------------------------------------- */

void teller_open(struct teller *t, void *relay)
{
    struct hearer *h = mem_zalloc(sizeof(*h));

    sd_check(t, TELLER_MAGIC);
    h->relay = relay;
    h->state = t->is_over ? HEARER_IS_FULL : HEARER_BEHIND;
    list_add(&t->hearers, &h->node);
    t->figures.relays++;
}

static void drop(struct teller *t, struct hearer *h)
{
    t->figures.relays--;
    t->figures.known -= h->state == HEARER_KNOWS;
    list_del(&h->node);
    mem_free(h);
}

static struct hearer *find(const struct teller *t, const void *relay)
{
    struct list *it;

    list_each (it, &t->hearers) {
        struct hearer *h = list_entry(it, struct hearer, node);

        if (h->relay == relay)
            return h;
    }
    return NULL;
}

void teller_close(struct teller *t, void *relay)
{
    struct hearer *h = find(t, relay);

    sd_check(t, TELLER_MAGIC);
    if (h != NULL)
        drop(t, h);
}

bool teller_knows(const struct teller *t, const void *relay)
{
    const struct hearer *h = find(t, relay);

    return h != NULL && h->state == HEARER_KNOWS;
}

static uint32_t or_default(uint32_t given, uint32_t value)
{
    return given > 0 ? given : value;
}

struct teller *teller_new(const struct teller_calls *calls,
                          const struct teller_limits *limits,
                          struct topics *topics, struct topics *groups)
{
    struct teller *t = mem_zalloc(sizeof(*t));

    t->magic = TELLER_MAGIC;
    t->calls = *calls;
    t->max = (struct teller_limits){
        .filters = or_default(limits->filters, FRAMES_FILTERS),
        .slice = or_default(limits->slice, 1024),
        .room = or_default(limits->room, 256 * 1024),
        .behind = or_default(limits->behind, 1 << 20),
        .linger_ms = or_default(limits->linger_ms, 1000),
    };
    t->topics = topics;
    t->groups = groups;
    list_init(&t->hearers);
    list_init(&t->young);
    list_init(&t->old);
    topics_watch(topics, on_topic, t);
    topics_watch(groups, on_group, t);
    return t;
}

void teller_free(struct teller **tp)
{
    struct teller *t = *tp;

    sd_check(t, TELLER_MAGIC);
    topics_watch(t->topics, NULL, NULL);
    topics_watch(t->groups, NULL, NULL);
    while (!list_empty(&t->hearers))
        drop(t, list_entry(t->hearers.next, struct hearer, node));
    leaving_drop(t);
    t->magic = 0;
    mem_free(t);
    *tp = NULL;
}

const struct teller_figures *teller_figures(const struct teller *t)
{
    return &t->figures;
}
