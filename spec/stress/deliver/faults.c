/* faults.c - what goes wrong, to whom, and when again. */
#include "sim.h"

unsigned whom(enum event_type type)
{
    switch (type) {
    case SEND:
        return below(world->senders);
    case MOVE:
    case HOP:
        return below(world->uids);
    case KILL_RELAY:
    case FREEZE_RELAY:
        return below(world->relays);
    default:
        return below(world->workers);
    }
}

void again_later(const struct event *e)
{
    uint64_t us = 1;

    if (world->is_quiet)
        return;
    switch (e->type) {
    case SEND:
        us = 1 + below(60 * MS);
        break;
    case MOVE:
    case HOP:
        us = 1 + below(400 * MS);
        break;
    case SUBSCRIBE:
        us = 1 + below(8000 * MS);
        break;
    default:
        us = (uint64_t)(100 + below(4000)) * MS * 50 /
             (world->faults > 0 ? world->faults : 1);
    }
    after(us, e->type, whom(e->type), 0, 0, 0);
}

static struct chan *some_chan(unsigned w)
{
    unsigned r = below(world->relays);

    if (!world->worker[w].is_alive || world->worker[w].chan[r] < 0)
        return NULL;
    return &world->chan[world->worker[w].chan[r]];
}

/* One end has heard nothing for too long. */
void end_silent(const struct event *e)
{
    struct chan *c = &world->chan[e->a];

    if (e->b == 0)
        give_up_chan(c);
    else if (world->worker[c->w].frozen_until > world->now)
        break_chan(c);
}

void fault(const struct event *e)
{
    struct chan *c;

    if (world->is_quiet)
        return;
    c = some_chan(e->a);
    if (e->type == BREAK && c != NULL)
        break_chan(c);
    else if (e->type == SLOW && c != NULL)
        c->slow_until = world->now + below(2000 * MS);
    else if (e->type == KILL_WORKER && chance(40))
        kill_worker(e->a);
    else if (e->type == KILL_RELAY && chance(60))
        kill_relay(e->a);
    else if (e->type == FREEZE)
        freeze_worker(e->a);
    else if (e->type == FREEZE_RELAY)
        freeze_relay(e->a);
    else if (e->type == OUTAGE && world->has_outage)
        world->bad_until = world->now + below(3000 * MS);
    again_later(e);
}
