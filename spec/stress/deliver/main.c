/* main.c - outboxes, hubs and inboxes in virtual time, with faults.
 *
 *   deliver_sim [seeds] [first seed] [mutation] [message]
 *
 * Workers send to uids, places and topics over relays, while links break with
 * bytes under way, each end noticing when it likes, relays and workers die
 * and come back, both stand still, uids move, and the truth about them
 * cannot be asked.  A ledger judges every message; what breaks the promise is
 * counted as wrong and printed.  The same seed gives the same hash.
 *
 * With the number of a message its way is shown, and what links do.
 *
 * A mutation changes frames on their way, as if a rule of the protocol did
 * not exist: then the ledger has to find wrong ones, which shows that the rule
 * is needed, and that the simulation would notice.  The first will do. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static const char *const mutations[MUTATIONS] = {"none",  "chain",   "term",
                                                 "again", "base",    "perhaps",
                                                 "acked", "covered", "life"};

/* --- one event ---- */

static void turn_worker(unsigned w)
{
    if (world->worker[w].is_alive)
        inbox_turn(world->worker[w].in);
}

/* As link_waited() says. */
static uint32_t waited(const struct event *e)
{
    mutated += mutation == LIFE;
    return mutation == LIFE ? 0 : (uint32_t)((world->now - e->written) / MS);
}

static void take_frame(struct event *e)
{
    struct chan *c = &world->chan[e->a];
    struct slice p = {e->bytes, e->len};
    int rc = 0;

    if (world->now > c->cut[e->b])
        return;
    trace_frame("arrives", c, e->c, p);
    note(e->c << 8 ^ e->a << 16 ^ e->len);
    if (e->b == 0 && c->relay_open) {
        if (e->c == FRAMES_PUBLISH && mutation == COVERED)
            put32(e->bytes + 14, c->losses);
        rc = hub_take(world->relay[c->r].hub, c->hub, e->c, p, waited(e));
        if (chance(60))
            hub_turn(world->relay[c->r].hub);
    } else if (e->b == 1 && c->worker_open) {
        if (frames_is_data(e->c))
            rc = inbox_take(world->worker[c->w].in, c->in, e->c, p, waited(e),
                            now_ms());
        else
            rc =
                outbox_take(world->worker[c->w].out, c->out, e->c, p, now_ms());
        if (chance(60))
            turn_worker(c->w);
    }
    if (rc < 0)
        wrong("a frame of type %u is refused", e->c);
}

static void check_relay(const struct relay *r)
{
    const struct hub_figures *f = hub_figures(r->hub);

    if (f->transits > f->links * WINDOW_MOST || f->uids > HUB_UIDS_MOST)
        wrong("a relay is over its bounds");
}

static void check_worker(const struct worker *w)
{
    if (outbox_figures(w->out)->count > KEPT_MOST ||
        inbox_figures(w->in)->seen > SEEN_MOST)
        wrong("a worker is over its bounds");
}

static void tick(unsigned w)
{
    struct worker *me = &world->worker[w];
    unsigned r;

    for (r = 0; r < world->relays; r++) {
        if (world->relay[r].is_alive &&
            world->relay[r].frozen_until <= world->now) {
            check_relay(&world->relay[r]);
            hub_turn(world->relay[r].hub);
        }
    }
    if (me->is_alive) {
        check_worker(me);
        outbox_tick(me->out, now_ms());
        inbox_tick(me->in, now_ms());
        inbox_turn(me->in);
    }
    after(!world->is_quiet                       ? 10 * MS
          : world->now < world->end + 10000 * MS ? 50 * MS
                                                 : 400 * MS,
          TICK, w, 0, 0, 0);
}

static void settle_later(const struct event *e)
{
    struct worker *me = &world->worker[e->a];

    if (me->is_alive && me->place.epoch == e->b) {
        inbox_settle(me->in, e->n, -(int)e->c);
        turn_worker(e->a);
    }
}

/* The worker that an event needs, or -1. */
static int worker_of(const struct event *e)
{
    switch (e->type) {
    case FRAME:
        return e->b == 1 ? (int)world->chan[e->a].w : -1;
    case NOTICE:
        return e->b == 0 ? (int)world->chan[e->a].w : -1;
    case TELL:
        return (int)world->chan[e->a].w;
    case TICK:
    case SEND:
    case CONNECT:
    case RESOLVED:
    case SETTLE:
    case SUBSCRIBE:
        return (int)e->a;
    case CLOSE_CONN:
        return (int)world->conn[e->a].w;
    default:
        return -1;
    }
}

static void act(struct event *e)
{
    switch (e->type) {
    case FRAME:
        take_frame(e);
        break;
    case NOTICE:
        if (e->b == 0)
            close_worker_end(&world->chan[e->a]);
        else
            close_relay_end(&world->chan[e->a]);
        break;
    case CONNECT:
        connect_to(e->a, e->b);
        break;
    case TELL:
        tell_all(&world->chan[e->a]);
        break;
    case TICK:
        tick(e->a);
        break;
    case SEND:
        if (!world->is_quiet)
            send_some(e->a);
        again_later(e);
        break;
    case MOVE:
        if (!world->is_quiet)
            move_uid(e->a);
        again_later(e);
        break;
    case HOP:
        hop_some(e->a);
        again_later(e);
        break;
    case SUBSCRIBE:
        subscribe(e->a);
        again_later(e);
        break;
    case START_WORKER:
        start_worker(e->a);
        break;
    case START_RELAY:
        start_relay(e->a);
        break;
    case RESOLVED:
        resolved(e);
        break;
    case SETTLE:
        settle_later(e);
        break;
    case SILENT:
        end_silent(e);
        break;
    case CLOSE_CONN:
        close_conn(e->a);
        break;
    case FORGET:
        forget_conn(e->a);
        break;
    default:
        fault(e);
    }
}

/* Until when whoever has to act on it stands still. */
static uint64_t held_until(const struct event *e)
{
    int w = worker_of(e);
    const struct chan *c;

    if (w >= 0)
        return world->worker[w].frozen_until;
    if ((e->type == FRAME && e->b == 0) || (e->type == NOTICE && e->b == 1)) {
        c = &world->chan[e->a];
        return c->relay_open ? c->held_until : 0;
    }
    return 0;
}

static void step(void)
{
    struct event e = pop();

    world->now = e.at;
    if (held_until(&e) > world->now) {
        e.at = held_until(&e);
        push(e);
        return;
    }
    note(e.at ^ (uint64_t)e.type << 56);
    act(&e);
    free(e.bytes);
}

/* --- one world ---- */

static void build(uint64_t seed)
{
    static const enum event_type faults[] = {BREAK,  KILL_WORKER,  KILL_RELAY,
                                             FREEZE, FREEZE_RELAY, OUTAGE,
                                             MOVE,   SLOW,         HOP};
    unsigned i;

    world = calloc(1, sizeof(*world));
    world->chan = calloc(CHANS, sizeof(struct chan));
    world->conn = calloc(CONNS, sizeof(struct conn));
    world->message = calloc(MESSAGES, sizeof(struct message));
    world->random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    world->key = (struct hash_key){1, 2};
    world->now = 1000 * MS;
    world->workers = 3 + below(WORKERS - 2);
    world->relays = 1 + below(RELAYS);
    world->uids = 1 + below(UIDS);
    world->senders = 1 + below(world->workers);
    world->is_sole = chance(60);
    world->floods = chance(30);
    world->has_outage = chance(50);
    world->members_err = chance(20);
    world->faults = chance(90) ? 1 + below(60) : 0;
    for (i = 0; i < UIDS; i++)
        snprintf(world->uid[i].name, sizeof(world->uid[i].name), "u%u", i);
    for (i = 0; i < world->relays; i++)
        start_relay(i);
    for (i = 0; i < world->workers; i++) {
        world->worker[i].place =
            (struct place){100 + i / 2, (uint16_t)0, (uint8_t)i};
        start_worker(i);
        after(below(10 * MS), TICK, i, 0, 0, 0);
        after(below(1000 * MS), SUBSCRIBE, i, 0, 0, 0);
    }
    for (i = 0; i < world->uids; i++)
        open_conn(i, below(world->workers));
    after(20 * MS, SEND, 0, 0, 0, 0);
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (chance(70) && world->faults > 0)
            after(below(2000 * MS), faults[i], whom(faults[i]), 0, 0, 0);
    }
}

static void destroy(void)
{
    unsigned i;

    while (world->events > 0)
        free(pop().bytes);
    for (i = 0; i < world->workers; i++) {
        if (world->worker[i].is_alive)
            end_worker(i);
    }
    for (i = 0; i < world->relays; i++) {
        if (world->relay[i].is_alive)
            end_relay(i);
    }
    free(world->heap);
    free(world->chan);
    free(world->conn);
    free(world->message);
    free(world);
}

static uint64_t run(uint64_t seed, uint64_t *wrongs)
{
    uint64_t hash;

    build(seed);
    world->end = world->now + (uint64_t)(3000 + below(12000)) * MS;
    while (world->now < world->end)
        step();
    world->is_quiet = true;
    while (world->now < world->end + QUIET)
        step();
    judge_all();
    hash = world->hash;
    *wrongs = world->wrongs;
    destroy();
    return hash;
}

static void print_totals(void)
{
    const struct totals *t = &totals;

    printf("sent %llu delivered %llu refused %llu busy %llu "
           "unknown-delivered %llu unknown-not %llu sender-died %llu\n",
           (unsigned long long)t->sent, (unsigned long long)t->delivered,
           (unsigned long long)(t->refused - t->busy),
           (unsigned long long)t->busy, (unsigned long long)t->unknown_done,
           (unsigned long long)t->unknown_not, (unsigned long long)t->died);
    printf("publishes %llu missed %llu frames %llu again %llu doubles %llu "
           "gaps %llu stale %llu lost %llu forgotten %llu\n",
           (unsigned long long)t->publishes, (unsigned long long)t->missed,
           (unsigned long long)t->frames, (unsigned long long)t->again,
           (unsigned long long)t->doubles, (unsigned long long)t->gaps,
           (unsigned long long)t->stale, (unsigned long long)t->lost,
           (unsigned long long)t->forgotten);
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t seed, hash = 0, wrongs, bad = 0, first_bad = 0;

    while (argc > 3 && mutation < MUTATIONS &&
           strcmp(argv[3], mutations[mutation]) != 0)
        mutation++;
    sd_assert(mutation < MUTATIONS);
    if (argc > 4)
        traced = strtoull(argv[4], NULL, 10);
    for (seed = first; seed < first + seeds; seed++) {
        if (mutation != NONE && bad > 0)
            break;
        hash = hash * UINT64_C(0x100000001b3) ^ run(seed, &wrongs);
        if (wrongs > 0 && mutation == NONE)
            printf("seed %llu: %llu wrong\n", (unsigned long long)seed,
                   (unsigned long long)wrongs);
        if (wrongs > 0 && bad++ == 0)
            first_bad = seed;
    }
    print_totals();
    printf("mutation %s changed %llu\n", mutations[mutation],
           (unsigned long long)mutated);
    printf("seeds %llu from %llu bad %llu first %llu wrong %llu hash %016llx\n",
           (unsigned long long)seeds, (unsigned long long)first,
           (unsigned long long)bad, (unsigned long long)first_bad,
           (unsigned long long)totals.wrong, (unsigned long long)hash);
    return mutation == NONE ? bad > 0 : bad == 0;
}
