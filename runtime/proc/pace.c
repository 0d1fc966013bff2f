/* pace.c - a bucket that fills evenly: a conn is closed when there is one in
 * it, so that the closes of a slow drain lie apart and those of a fast one
 * come in small handfuls.  What a loop that was held up has missed is made
 * good for one second at most. */
#include "proc/pace.h"

#include "base/assert.h"
#include "base/list.h"
#include "net/net.h"

enum {
    ONE = 1000000, /* conn */
    STEP = 10,     /* ms between two looks, at least ... */
    LOOK = 1000,   /* ... and at most */
};

/* Take in what the time since the last look is worth. */
static void fill(struct pace *p)
{
    uint64_t now = loop_now(p->loop), ms = now - p->paid_at;

    p->paid_at = now;
    p->credit += p->rate * (ms < LOOK ? ms : LOOK);
}

static uint64_t next_look(const struct pace *p)
{
    uint64_t ms = LOOK;

    if (p->rate > 0 && p->credit < ONE)
        ms = (ONE - p->credit) / p->rate + 1;
    return ms < STEP ? STEP : ms > LOOK ? LOOK : ms;
}

static void on_timer(struct timer *t)
{
    struct pace *p = list_entry(t, struct pace, timer);
    unsigned want;

    fill(p);
    want = (unsigned)(p->credit / ONE);
    p->credit %= ONE;
    if (want > 0)
        net_shed(p->net, want);
    timer_start(p->loop, t, next_look(p));
}

void pace_set(struct pace *p, struct loop *loop, struct net *net, uint32_t rate)
{
    if (p->net == NULL) {
        *p = (struct pace){.loop = loop, .net = net, .timer.fn = on_timer};
        p->paid_at = loop_now(loop);
    }
    sd_assert(p->net == net);
    fill(p); /* at the old rate */
    p->rate = rate;
    timer_start(loop, &p->timer, next_look(p));
}

void pace_stop(struct pace *p)
{
    if (p->net != NULL)
        timer_stop(p->loop, &p->timer);
}
