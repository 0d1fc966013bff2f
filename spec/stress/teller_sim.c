/* teller_sim.c - a process tells relays what it wants (cluster/teller.h) while
 * its subscribers come and go, and links break, are slow, or stand still.
 *
 *     teller_sim seed=1 steps=20000
 *
 * What a relay knows is kept by cluster/hub_interest.h.  Looked at all the
 * time: a relay that has read everything and sends only what it was told for
 * lacks no filter that is held; nobody is told more than it keeps; the bytes
 * in a link are bounded.  In the end, when all is quiet: it has those that are
 * held, and no others.  Prints what it did, or what was wrong. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "cluster/frames.h"
#include "cluster/hub_interest.h"
#include "cluster/teller.h"

enum {
    RELAYS = 3,
    HOLDERS = 8,
    FILTERS = 90,
    MOST = 96, /* that a relay keeps */
    SLICE = 4,
    ROOM = 150,
    BEHIND = 300,
    LINGER = 50,
    FRAME = 64 /* bytes, at most, of what is told here */
};

struct relay {
    bool is_open, is_stuck;
    struct interests *all;
    struct interest interest;
    struct topics *knows[2]; /* the same once more, by kind */
    struct topics_holder holder[2];
    struct buf link; /* each frame behind its length ... */
    size_t unsent;   /* ... which does not count */
};

struct holder {
    struct topics_holder topics, groups;
};

static uint64_t state;
static struct relay relays[RELAYS];
static struct holder holders[HOLDERS];
static struct topics *topics, *groups;
static struct teller *teller;
static uint64_t now = 1, step, overs, looks;
static unsigned spread; /* how many filters are in use at the moment */

static uint32_t below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % n);
}

static void wrong(const char *what, struct slice name)
{
    printf("step %" PRIu64 ": %s %.*s\n", step, what, (int)name.len, name.p);
    exit(1);
}

/* --- the links ------------------------------------------------------------ */

static void on_emit(void *arg, void *relay, struct slice payload)
{
    struct relay *r = relay;
    uint32_t len = (uint32_t)payload.len;

    (void)arg;
    buf_append(&r->link, &len, sizeof(len));
    buf_append(&r->link, payload.p, payload.len);
    r->unsent += len;
    if (r->unsent > BEHIND + 2 * FRAME)
        wrong("a link holds too much", slice_str(""));
}

static size_t on_unsent(void *arg, void *relay)
{
    (void)arg;
    return ((struct relay *)relay)->unsent;
}

static void on_over(void *arg, bool is_over)
{
    (void)arg;
    overs += is_over;
}

static void forget(struct relay *r)
{
    topics_drop(r->knows[0], &r->holder[0]);
    topics_drop(r->knows[1], &r->holder[1]);
}

static void note(struct relay *r, const struct frames_interest *told)
{
    unsigned i = told->kind == FRAMES_GROUP;

    if (told->op == FRAMES_RESET)
        forget(r);
    else if (told->op == FRAMES_ADD)
        topics_subscribe(r->knows[i], &r->holder[i], told->name);
    else if (told->op == FRAMES_REMOVE)
        topics_unsubscribe(r->knows[i], &r->holder[i], told->name);
}

static void read_one(struct relay *r)
{
    struct slice in = buf_slice(&r->link);
    struct frames_interest told;
    uint32_t len;

    memcpy(&len, in.p, sizeof(len));
    in = slice_make(in.p + sizeof(len), len);
    if (frames_read_interest(&told, in) < 0 ||
        interest_take(r->all, &r->interest, &told) < 0)
        wrong("a frame that is none", in);
    if (r->interest.is_over)
        wrong("more than a relay keeps", in);
    note(r, &told);
    buf_consume(&r->link, sizeof(len) + len);
    r->unsent -= len;
}

static void end(struct relay *r)
{
    teller_close(teller, r);
    interest_drop(r->all, &r->interest);
    forget(r);
    buf_consume(&r->link, r->link.len);
    r->unsent = 0;
    r->is_open = r->is_stuck = false;
}

/* --- what has to be true -------------------------------------------------- */

static void look_for(void *arg, struct slice filter)
{
    if (topics_count(arg, filter) == 0)
        wrong("a relay lacks", filter);
}

static void look_for_all(const struct topics *want, struct topics *knows)
{
    uint64_t cursor = 0;

    do {
        topics_scan(want, &cursor, look_for, knows);
    } while (cursor != 0);
}

static void look(struct relay *r)
{
    if (!r->is_open || r->link.len > 0 || !interest_is_known(&r->interest))
        return;
    looks++;
    look_for_all(topics, r->knows[0]);
    look_for_all(groups, r->knows[1]);
}

/* --- what happens --------------------------------------------------------- */

static struct slice filter_of(char *text, unsigned i)
{
    static const char *const forms[] = {"t/", "t/+/", "", "a/longer/name/of/"};
    const char *tail = i % 4 == 1 ? "/#" : "";

    return slice_make(
        text, (size_t)snprintf(text, FRAME, "%s%u%s", forms[i % 4], i, tail));
}

static void change_topic(struct holder *h, bool is_held)
{
    char text[FRAME];
    struct slice filter = filter_of(text, below(spread));

    if (is_held)
        topics_subscribe(topics, &h->topics, filter);
    else
        topics_unsubscribe(topics, &h->topics, filter);
}

static void change_group(struct holder *h, bool is_held)
{
    char text[FRAME];
    struct slice name = slice_make(
        text, (size_t)snprintf(text, sizeof(text), "%%2b%u", below(spread)));

    if (is_held)
        topics_subscribe(groups, &h->groups, name);
    else
        topics_unsubscribe(groups, &h->groups, name);
}

static void drop(struct holder *h)
{
    topics_drop(topics, &h->topics);
    topics_drop(groups, &h->groups);
}

static void open_or_end(struct relay *r)
{
    if (r->is_open) {
        end(r);
    } else {
        r->is_open = true;
        teller_open(teller, r);
    }
}

static void carry(struct relay *r)
{
    uint32_t n = below(40);

    while (!r->is_stuck && r->link.len > 0 && n-- > 0)
        read_one(r);
    look(r);
}

static void turn(void)
{
    now += below(20);
    (void)teller_turn(teller, now);
    if (teller_figures(teller)->leaving > MOST / 8)
        wrong("too many linger", slice_str(""));
}

static void do_something(void)
{
    struct holder *h = &holders[below(HOLDERS)];
    struct relay *r = &relays[below(RELAYS)];
    uint32_t dice = below(1000);

    if (dice < 600)
        (dice % 3 == 0 ? change_group : change_topic)(h, below(10) < 5);
    else if (dice < 640)
        drop(h);
    else if (dice < 646)
        open_or_end(r);
    else if (dice < 656)
        r->is_stuck = below(3) == 0;
    else if (dice < 657)
        spread = 4 + below(FILTERS);
    else if (dice < 850)
        turn();
    else
        carry(r);
}

/* Nothing changes any more: all is told, and what lingers is taken back. */
static void settle(void)
{
    unsigned i, rounds = 0;
    uint32_t wait;

    for (i = 0; i < RELAYS; i++) {
        relays[i].is_stuck = false;
        if (!relays[i].is_open)
            open_or_end(&relays[i]);
    }
    do {
        wait = teller_turn(teller, now);
        now += wait;
        for (i = 0; i < RELAYS; i++) {
            while (relays[i].link.len > 0)
                read_one(&relays[i]);
            look(&relays[i]);
        }
        if (rounds++ > 100000)
            wrong("no end", slice_str(""));
    } while (wait != 0);
}

static void look_at_the_end(bool is_quiet)
{
    struct teller_figures f = *teller_figures(teller);
    unsigned i;

    settle();
    for (i = 0; i < RELAYS; i++) {
        struct relay *r = &relays[i];

        if (interest_is_known(&r->interest) !=
            (teller_figures(teller)->known > 0))
            wrong("a relay is not told all", slice_str(""));
        if (!interest_is_known(&r->interest))
            continue;
        if (topics_filters(topics) != r->interest.topics.count ||
            topics_filters(groups) != r->interest.groups.count)
            wrong("a relay has what nobody holds", slice_str(""));
    }
    if (is_quiet)
        printf("told=%" PRIu64 " resets=%" PRIu64 " overs=%" PRIu64
               " looks=%" PRIu64 "\n",
               f.told, f.resets, overs, looks);
}

static uint64_t number_of(int argc, char **argv, const char *name, uint64_t n)
{
    size_t len = strlen(name);

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, len) == 0 && argv[i][len] == '=')
            return strtoull(argv[i] + len + 1, NULL, 10);
    }
    return n;
}

static void begin(void)
{
    struct teller_calls calls = {
        .emit = on_emit, .unsent = on_unsent, .on_over = on_over};
    struct teller_limits limits = {.filters = MOST,
                                   .slice = SLICE,
                                   .room = ROOM,
                                   .behind = BEHIND,
                                   .linger_ms = LINGER};

    topics = topics_new();
    groups = topics_new();
    for (unsigned i = 0; i < RELAYS; i++) {
        relays[i].all = interests_new(MOST);
        relays[i].knows[0] = topics_new();
        relays[i].knows[1] = topics_new();
    }
    teller = teller_new(&calls, &limits, topics, groups);
}

static void finish(void)
{
    unsigned i;

    for (i = 0; i < RELAYS; i++)
        end(&relays[i]);
    drop(&holders[0]); /* nobody hears of it */
    teller_free(&teller);
    for (i = 0; i < HOLDERS; i++)
        drop(&holders[i]);
    for (i = 0; i < RELAYS; i++) {
        interests_free(&relays[i].all);
        topics_free(&relays[i].knows[0]);
        topics_free(&relays[i].knows[1]);
        buf_fini(&relays[i].link);
    }
    topics_free(&topics);
    topics_free(&groups);
}

int main(int argc, char **argv)
{
    uint64_t steps = number_of(argc, argv, "steps", 20000);

    state = number_of(argc, argv, "seed", 1) * 0x9e3779b97f4a7c15u + 1;
    spread = 20;
    begin();
    for (step = 1; step <= steps; step++) {
        do_something();
        if (step % 5000 == 0)
            look_at_the_end(false);
    }
    look_at_the_end(true);
    finish();
    return 0;
}
