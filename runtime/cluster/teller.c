/* teller.c - see teller.h.
 *
 * Order within a link is what keeps it right.  A slice shows what is held when
 * it is written, and a change is written when it happens; so whatever a relay
 * heard last of a filter is true, however the two mix.  A filter may be told
 * twice, which means nothing.
 *
 * A filter that has lost its last holder is taken back a while later, unless
 * somebody holds it then.  A conn that moves to another worker of our node is
 * thus wanted by the old one until every relay has heard of it from the new
 * one, and who comes and goes all the time is told once.  Those that linger
 * are of two ages: the old ones are taken back, slice by slice, then the young
 * ones are the old ones.
 *
 * Memory is bounded: slices wait for room in the link, and so do relays that
 * changes cannot reach in time.  Such a one is told to forget all, which is
 * one short frame, and once it has room, everything from the beginning.  How
 * much of what a link holds is ours is not known; it is at most what we have
 * written, and at most all of it. */
#include "cluster/teller.h"

#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "cluster/frames.h"

enum {
    TELLER_MAGIC = 0x74656c6c,
    AGAIN_MS = 1,
    SHARE = 8 /* of the filters a relay keeps, one part may linger */
};

enum hearer_state {
    HEARER_BEHIND,  /* was told to forget all; waits for room */
    HEARER_LEARNS,  /* is told all, up to `cursor` */
    HEARER_KNOWS,   /* was told all */
    HEARER_IS_FULL, /* we are over the limit: it sends everything */
};

/* A relay. */
struct hearer {
    struct list node;
    void *relay;
    enum hearer_state state;
    enum frames_kind kind; /* what it is told the filters of */
    uint64_t cursor;
    size_t ours; /* bytes in its link, at most */
};

/* A filter that has lost its last holder. */
struct leaving {
    struct list node;
    enum frames_kind kind;
    uint16_t len;
    char text[];
};

struct teller {
    unsigned magic;
    bool is_over;
    struct teller_calls calls;
    struct teller_limits max;
    struct topics *topics, *groups;
    struct list hearers;
    struct list young, old; /* of struct leaving */
    uint64_t old_at;        /* when the old ones are taken back */
    struct teller_figures figures;
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

static void tell_change(struct teller *t, const struct frames_interest *change)
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

static struct topics *of_kind(const struct teller *t, enum frames_kind kind)
{
    return kind == FRAMES_TOPIC ? t->topics : t->groups;
}

static void take_back(struct teller *t, struct leaving *l)
{
    struct frames_interest change = {.op = FRAMES_REMOVE,
                                     .kind = l->kind,
                                     .name = slice_make(l->text, l->len)};

    if (topics_count(of_kind(t, l->kind), change.name) == 0)
        tell_change(t, &change);
    list_del(&l->node);
    mem_free(l);
    t->figures.leaving--;
}

static void take_back_first(struct teller *t)
{
    struct list *from = list_empty(&t->old) ? &t->young : &t->old;

    take_back(t, list_entry(from->next, struct leaving, node));
}

static void linger(struct teller *t, enum frames_kind kind, struct slice filter)
{
    struct leaving *l;

    if (list_empty(&t->hearers))
        return;
    l = mem_alloc(sizeof(*l) + filter.len);
    l->kind = kind;
    l->len = (uint16_t)filter.len;
    memcpy(l->text, filter.p, filter.len);
    list_add(&t->young, &l->node);
    if (++t->figures.leaving > t->max.filters / SHARE)
        take_back_first(t);
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
        linger(t, kind, filter);
    else if (!t->is_over && count(t) > t->max.filters - t->max.filters / SHARE)
        go_over(t); /* a relay has these and what lingers */
    else
        tell_change(t, &add);
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

    topics_scan(of_kind(s->t, h->kind), &h->cursor, show, s);
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

/* What has lingered for long enough; then its heirs begin to. */
static void take_back_some(struct teller *t, uint64_t now)
{
    uint32_t n = 0;

    if (now < t->old_at)
        return;
    while (!list_empty(&t->old) && n++ < t->max.slice)
        take_back_first(t);
    if (!list_empty(&t->old) || list_empty(&t->young))
        return;
    t->old = t->young;
    t->old.next->prev = t->old.prev->next = &t->old;
    list_init(&t->young);
    t->old_at = now + t->max.linger_ms;
}

uint32_t teller_turn(struct teller *t, uint64_t now)
{
    struct list *it;
    uint32_t left = t->max.slice;
    bool is_busy = false;

    sd_check(t, TELLER_MAGIC);
    if (t->is_over && count(t) <= t->max.filters / 2)
        come_back(t);
    take_back_some(t, now);
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
    while (t->figures.leaving > 0) {
        struct list *from = list_empty(&t->old) ? &t->young : &t->old;
        struct leaving *l = list_entry(from->next, struct leaving, node);

        list_del(&l->node);
        mem_free(l);
        t->figures.leaving--;
    }
    t->magic = 0;
    mem_free(t);
    *tp = NULL;
}

const struct teller_figures *teller_figures(const struct teller *t)
{
    return &t->figures;
}
