/* links.c - links between workers and relays.
 *
 * Each direction is a queue: frames arrive in order, after a delay, until the
 * link breaks; then the end of what is under way is lost.  Each end notices on
 * its own, and sends into nothing until then. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void put32(char *p, uint32_t x)
{
    memcpy(p, &x, 4); /* the machines that simulate are little-endian */
}

/* What a rule would have said is taken away. */
static void mutate_data(char *p)
{
    bool again = (p[0] & FRAMES_AGAIN) != 0;

    if (mutation == CHAIN)
        put32(p + 9, 0);
    else if (mutation == TERM)
        put32(p + 1, 0);
    else if (mutation == AGAIN)
        p[0] = (char)(p[0] & ~FRAMES_AGAIN);
    else if (mutation == BASE)
        put32(p + 5, 0);
    else
        return;
    mutated += again;
}

static bool mutate_nack(char *p, size_t len)
{
    size_t i;

    for (i = 0; i + FRAMES_NACK_SIZE <= len; i += FRAMES_NACK_SIZE) {
        if (mutation == PERHAPS && p[i + 8] == FRAMES_LOST) {
            p[i + 8] = FRAMES_NOT_HERE;
            p[i + 9] = 0;
            mutated++;
        }
    }
    return mutation == ACKED && len == FRAMES_NACK_SIZE && p[8] == FRAMES_LOST;
}

static void mutate(struct chan *c, struct event *e)
{
    if (frames_is_data(e->c))
        mutate_data(e->bytes);
    if (e->c == FRAMES_COVER)
        memcpy(&c->losses, e->bytes + 1, 4);
    if (e->c != FRAMES_NACK || !mutate_nack(e->bytes, e->len))
        return;
    mutated++;
    e->c = FRAMES_ACK;
    e->len = FRAMES_ACK_SIZE;
    e->bytes = realloc(e->bytes, e->len);
    put32(e->bytes + 8, 1);
}

static uint64_t arrival(struct chan *c, unsigned dir)
{
    uint64_t delay = 50 + below(400) + (chance(3) ? below(40 * MS) : 0);

    if (world->now < c->slow_until)
        delay += 100 * MS + below(400 * MS);
    if (c->last[dir] < world->now + delay)
        c->last[dir] = world->now + delay;
    return c->last[dir];
}

/* dir 0: from the worker to the relay. */
void chan_send(struct chan *c, unsigned dir, unsigned type,
               const struct slice *v, unsigned n)
{
    struct event e = {.order = ++world->orders,
                      .type = FRAME,
                      .a = (unsigned)(c - world->chan),
                      .b = dir,
                      .c = type,
                      .written = world->now};
    unsigned i;

    if (c->is_broken)
        return;
    e.at = arrival(c, dir);
    for (i = 0; i < n; i++)
        e.len += v[i].len;
    e.bytes = malloc(e.len + 1);
    for (i = 0, e.len = 0; i < n; i++) {
        if (v[i].len > 0)
            memcpy(e.bytes + e.len, v[i].p, v[i].len);
        e.len += v[i].len;
    }
    mutate(c, &e);
    trace_frame(dir == 0 ? "to relay" : "to worker", c, type,
                slice_make(e.bytes, e.len));
    push(e);
}

void worker_emit(void *arg, void *relay, unsigned type, const struct slice *v,
                 unsigned n)
{
    (void)arg;
    chan_send(relay, 0, type, v, n);
}

void relay_emit(void *arg, void *owner, unsigned type, const struct slice *v,
                unsigned n)
{
    (void)arg;
    chan_send(owner, 1, type, v, n);
}

void tell_interest(struct chan *c, enum frames_op op, unsigned topic)
{
    char name[16], payload[32];
    struct frames_interest told = {op, FRAMES_TOPIC, {name, 0}};
    struct slice p = {payload, 0};

    told.name.len = (size_t)snprintf(name, sizeof(name), "t/%u", topic);
    p.len = frames_write_interest(payload, &told);
    chan_send(c, 0, FRAMES_INTEREST, &p, 1);
}

static void check_linkless(struct worker *w)
{
    unsigned r;

    for (r = 0; r < world->relays; r++) {
        if (w->chan[r] >= 0) {
            if (w->linkless > 0 && world->now - w->linkless > w->linkless_most)
                w->linkless_most = world->now - w->linkless;
            w->linkless = 0;
            return;
        }
    }
    if (w->linkless == 0)
        w->linkless = world->now;
}

void connect_to(unsigned w, unsigned r)
{
    struct worker *me = &world->worker[w];
    struct relay *to = &world->relay[r];
    struct chan *c;

    if (!me->is_alive || me->chan[r] >= 0)
        return;
    if (!to->is_alive || to->frozen_until > world->now ||
        world->chans == CHANS) {
        after((10 + below(200)) * MS, CONNECT, w, r, 0, 0);
        return;
    }
    c = &world->chan[world->chans];
    *c = (struct chan){.worker_open = true,
                       .relay_open = true,
                       .w = w,
                       .r = r,
                       .cut = {UINT64_MAX, UINT64_MAX}};
    me->chan[r] = (int)world->chans++;
    c->out = outbox_open(me->out, c, to->id, now_ms());
    c->in = inbox_open(me->in, c);
    c->hub = hub_open(to->hub, c, &me->place);
    trace_link("opens", c);
    check_linkless(me);
    after(below(30 * MS), TELL, (unsigned)(c - world->chan), 0, 0, 0);
}

void tell_all(struct chan *c)
{
    unsigned t;

    if (!c->worker_open)
        return;
    for (t = 0; t < TOPICS; t++) {
        if (world->worker[c->w].since[t] > 0)
            tell_interest(c, FRAMES_ADD, t);
    }
    tell_interest(c, FRAMES_COMPLETE, 0);
}

void close_worker_end(struct chan *c)
{
    struct worker *me = &world->worker[c->w];

    if (!c->worker_open)
        return;
    c->worker_open = false;
    trace_link("has ended for its worker", c);
    me->chan[c->r] = -1;
    check_linkless(me);
    outbox_close(me->out, c->out, now_ms());
    inbox_close(me->in, c->in);
    after((5 + below(chance(80) ? 50 : 1500)) * MS, CONNECT, c->w, c->r, 0, 0);
}

void close_relay_end(struct chan *c)
{
    if (!c->relay_open)
        return;
    c->relay_open = false;
    trace_link("has ended for its relay", c);
    hub_close(world->relay[c->r].hub, c->hub);
    hub_turn(world->relay[c->r].hub);
}

/* Some of what is under way still arrives; each end notices on its own. */
void break_chan(struct chan *c)
{
    unsigned i;

    if (c->is_broken)
        return;
    c->is_broken = true;
    for (i = 0; i < 2; i++) {
        uint64_t late = chance(20) ? below(2000) : below(60);

        c->cut[i] = world->now + below(chance(80) ? 50 * MS : 2000 * MS);
        after(late * MS, NOTICE, (unsigned)(c - world->chan), i, 0, 0);
    }
}

/* Its worker has not heard of the relay for too long.  What it sent before is
 * in the relay's socket, and will be read. */
void give_up_chan(struct chan *c)
{
    if (!c->worker_open || c->is_broken)
        return;
    c->is_broken = true;
    c->cut[1] = world->now;
    close_worker_end(c);
    after(below(2 * MS), NOTICE, (unsigned)(c - world->chan), 1, 0, 0);
}
