/* life.c - what workers do, and how they and relays end and come back. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

/* A relay that stands still knows what it was told before. */
static bool is_known(uint64_t since)
{
    bool is_still = world->now < world->still_until;

    return since > 0 &&
           since + CALM < (is_still ? world->still_from : world->now);
}

static void expect(struct message *m)
{
    unsigned w;

    for (w = 0; w < world->workers; w++) {
        const struct worker *to = &world->worker[w];

        m->expects[w] = to->is_alive &&
                        to->place.boot != world->worker[m->w].place.boot &&
                        is_known(to->since[m->to]) && is_known(to->born) &&
                        world->worker[m->w].born + KNOWN < world->now;
    }
}

static void send_one(unsigned w, enum kind kind, unsigned to)
{
    struct worker *me = &world->worker[w];
    uint32_t index = world->messages;
    struct message *m = &world->message[index];
    struct wire_head h = {.boot = me->place.boot,
                          .slot = me->place.slot,
                          .epoch = me->place.epoch,
                          .counter = ++me->counter,
                          .life_ms = chance(80) ? 30000 : 20 + below(3000)};
    struct outbox_to dest = {.type = FRAMES_UID,
                             .name = slice_str(world->uid[to % UIDS].name),
                             .is_newest = kind == TO_UID && chance(10)};
    char body[600] = {0}, topic[16];
    struct slice v = {body, sizeof(index) + below(chance(80) ? 64 : 500)};
    struct outbox_mail mail = {&h, &v, 1, index};
    int rc;

    if (index == MESSAGES)
        return;
    memcpy(body, &index, sizeof(index));
    *m = (struct message){.kind = kind,
                          .w = w,
                          .epoch = me->place.epoch,
                          .to = to,
                          .counter = h.counter,
                          .sent_at = world->now,
                          .life = h.life_ms * (uint64_t)MS};
    if (kind == TO_PLACE) {
        dest = (struct outbox_to){.type = FRAMES_PLACE,
                                  .place = world->worker[to].place};
        m->to_epoch = dest.place.epoch;
    } else if (kind == TO_TOPIC) {
        snprintf(topic, sizeof(topic), "t/%u", to);
        dest = (struct outbox_to){.type = FRAMES_PUBLISH,
                                  .kind = FRAMES_TOPIC,
                                  .name = slice_str(topic)};
        expect(m);
    }
    world->messages++; /* outcomes may come at once */
    totals.sent++;
    totals.publishes += kind == TO_TOPIC;
    rc = outbox_send(me->out, &dest, &mail, now_ms());
    if (rc < 0) {
        m->outcome = rc;
        m->outcomes = 1;
        totals.busy += rc == SD_EBUSY;
    }
}

void send_some(unsigned w)
{
    unsigned n = 1 + below(chance(80) ? 4 : 40), to;
    enum kind kind = chance(70) ? TO_UID : chance(30) ? TO_PLACE : TO_TOPIC;

    if (!world->worker[w].is_alive)
        return;
    to = below(kind == TO_UID     ? world->uids
               : kind == TO_PLACE ? world->workers
                                  : TOPICS);
    if (kind == TO_UID && chance(10))
        (void)outbox_drop(world->worker[w].out, slice_str(world->uid[to].name),
                          now_ms());
    while (n-- > 0)
        send_one(w, kind, to);
}

void subscribe(unsigned w)
{
    struct worker *me = &world->worker[w];
    unsigned t = below(TOPICS), r;
    bool adds = me->since[t] == 0;

    if (!me->is_alive)
        return;
    me->since[t] = adds ? world->now : 0;
    for (r = 0; r < world->relays; r++) {
        if (me->chan[r] >= 0)
            tell_interest(&world->chan[me->chan[r]],
                          adds ? FRAMES_ADD : FRAMES_REMOVE, t);
    }
}

/* --- births and deaths ---- */

void start_worker(unsigned w)
{
    struct worker *me = &world->worker[w];
    struct outbox_calls out = {(void *)(uintptr_t)w, worker_emit, resolve,
                               settled, lives};
    struct inbox_calls in = {(void *)(uintptr_t)w, worker_emit, has_uid,
                             deliver};
    bool few = me->holds_few = chance(10);
    struct outbox_limits most = {.window_count = 8u << below(4),
                                 .window_bytes = 2000u << below(5),
                                 .count = KEPT_MOST,
                                 .queue = 60,
                                 .held = few ? 10 : 0};
    struct inbox_limits seen = {.seen =
                                    chance(70) ? SEEN_MOST : 16u << below(5)};
    unsigned r;

    if (me->is_alive || (world->now > world->end && world->is_quiet))
        return;
    me->is_alive = true;
    me->born = world->now;
    me->counter = 0;
    me->linkless = world->now;
    me->linkless_most = 0;
    me->frozen_until = 0;
    me->place.epoch++;
    me->out = outbox_new(&out, &most, &world->key, me->place.boot);
    me->in = inbox_new(&in, &seen);
    for (r = 0; r < TOPICS; r++)
        me->since[r] = chance(60) ? world->now : 0;
    for (r = 0; r < RELAYS; r++)
        me->chan[r] = -1;
    for (r = 0; r < world->relays; r++)
        connect_to(w, r);
}

void end_worker(unsigned w)
{
    struct worker *me = &world->worker[w];

    totals.frames += outbox_figures(me->out)->frames;
    totals.again += outbox_figures(me->out)->again;
    totals.doubles += inbox_figures(me->in)->doubles;
    totals.gaps += inbox_figures(me->in)->gaps;
    totals.stale += inbox_figures(me->in)->stale;
    totals.forgotten += inbox_figures(me->in)->forgotten;
    totals.missed += outbox_figures(me->out)->missed;
    outbox_free(&me->out);
    inbox_free(&me->in);
    me->is_alive = false;
}

void kill_worker(unsigned w)
{
    struct worker *me = &world->worker[w];
    unsigned i;

    if (!me->is_alive)
        return;
    for (i = 0; i < world->messages; i++) {
        struct message *m = &world->message[i];

        if (m->w == w && m->epoch == me->place.epoch && m->outcomes == 0)
            m->sender_died = true;
    }
    for (i = 0; i < world->conns; i++) {
        if (world->conn[i].is_open && world->conn[i].w == w) {
            world->conn[i].is_open = false;
            after((100 + below(2000)) * MS, FORGET, i, 0, 0, 0);
        }
    }
    for (i = 0; i < world->relays; i++) {
        if (me->chan[i] >= 0) {
            break_chan(&world->chan[me->chan[i]]);
            world->chan[me->chan[i]].worker_open = false;
        }
    }
    end_worker(w);
    after((50 + below(1500)) * MS, START_WORKER, w, 0, 0, 0);
}

void start_relay(unsigned r)
{
    struct hub_calls calls = {NULL, relay_emit};
    struct hub_limits most = {.window_count = 8u << below(4),
                              .window_bytes = 2000u << below(5),
                              .uids = 1 + below(HUB_UIDS_MOST),
                              .filters = 1 + below(8)};

    world->relay[r].is_alive = true;
    world->relay[r].frozen_until = 0;
    world->relay[r].id = ++world->relay_ids;
    world->relay[r].hub = hub_new(&calls, &most, &world->key);
}

void end_relay(unsigned r)
{
    totals.lost += hub_figures(world->relay[r].hub)->lost;
    hub_free(&world->relay[r].hub);
    world->relay[r].is_alive = false;
}

void kill_relay(unsigned r)
{
    unsigned i;

    if (!world->relay[r].is_alive)
        return;
    for (i = 0; i < world->chans; i++) {
        if (world->chan[i].r == r && world->chan[i].relay_open) {
            break_chan(&world->chan[i]);
            close_relay_end(&world->chan[i]);
        }
    }
    end_relay(r);
    after((20 + below(2000)) * MS, START_RELAY, r, 0, 0, 0);
}

/* --- standing still ---- */

static uint64_t how_long(void)
{
    if (chance(5))
        return 60000 * MS + below(30000 * MS);
    return below(chance(30) ? 6000 * MS : 1500 * MS);
}

/* The other ends give its links up meanwhile. */
void freeze_worker(unsigned w)
{
    struct worker *me = &world->worker[w];
    uint64_t us = how_long();
    unsigned r;

    if (!me->is_alive || me->frozen_until >= world->now + us)
        return;
    me->frozen_until = world->now + us;
    if (me->linkless_most < us)
        me->linkless_most = us;
    for (r = 0; r < world->relays && us > SILENCE; r++) {
        if (me->chan[r] >= 0)
            after(SILENCE + below(300 * MS), SILENT, (unsigned)me->chan[r], 1,
                  0, 0);
    }
}

/* Awake again, it reads old links and accepts new ones in any order. */
void freeze_relay(unsigned r)
{
    struct relay *me = &world->relay[r];
    uint64_t us = how_long(), until;
    unsigned i;

    if (!me->is_alive || me->frozen_until >= world->now + us)
        return;
    me->frozen_until = world->now + us;
    if (world->still_until + CALM < world->now)
        world->still_from = world->now;
    if (world->still_until < me->frozen_until + 400 * MS)
        world->still_until = me->frozen_until + 400 * MS;
    for (i = 0; i < world->chans; i++) {
        struct chan *c = &world->chan[i];

        if (c->r != r || !c->relay_open)
            continue;
        until = me->frozen_until + below(chance(50) ? 1 : 400 * MS);
        if (c->held_until < until)
            c->held_until = until;
        if (us > SILENCE)
            after(SILENCE + below(300 * MS), SILENT, i, 0, 0, 0);
    }
}
