/* drain.c - see drain.h.
 *
 * Shares are made anew every second, in proportion to what workers say of
 * themselves, so that all become empty at about the same time and the closes
 * of the node lie evenly.  A worker says that it drains only when it has
 * accepted the last conn, so "draining and no conns" is final; a worker that
 * has died has none. */
#include "proc/drain.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/timer.h"

enum {
    DRAIN_MAGIC = 0x64726169,
    LOOK = 100,   /* ms between two looks at what is left */
    SHARE = 1000, /* ... and between two shares */
};

struct drain {
    unsigned magic;
    struct drain_config config;
    unsigned rate;
    uint64_t share_at;
    struct timer look;
};

static uint64_t conns_of(const struct drain *d, unsigned worker)
{
    enum slot_state state = slots_state(d->config.slots, worker);

    if (state != SLOT_READY && state != SLOT_DRAINING)
        return 0;
    return slots_get(d->config.slots, worker, SLOT_CONNS);
}

static uint64_t all_conns(const struct drain *d)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < d->config.workers; i++)
        n += conns_of(d, i);
    return n;
}

static bool is_empty(const struct drain *d)
{
    for (unsigned i = 0; i < d->config.workers; i++) {
        enum slot_state state = slots_state(d->config.slots, i);

        if (state == SLOT_READY || state == SLOT_STARTING)
            return false; /* has not heard of it yet */
    }
    return all_conns(d) == 0;
}

/* A worker that says it has none still gets the share of one conn: it may
 * have taken it in since. */
static void share_out(struct drain *d)
{
    unsigned workers = d->config.workers;
    uint64_t total = all_conns(d) + workers;

    for (unsigned i = 0; i < workers; i++) {
        uint64_t part = conns_of(d, i) + 1;

        crew_pace(d->config.crew, i,
                  (uint32_t)((uint64_t)d->rate * 1000 * part / total));
    }
    d->share_at = loop_now(d->config.loop) + SHARE;
}

static void on_look(struct timer *t)
{
    struct drain *d = list_entry(t, struct drain, look);

    sd_check(d, DRAIN_MAGIC);
    if (is_empty(d)) {
        log_info("drained");
        d->config.on_empty(d->config.arg);
        return;
    }
    if (loop_now(d->config.loop) >= d->share_at)
        share_out(d);
    timer_start(d->config.loop, t, LOOK);
}

struct drain *drain_new(const struct drain_config *config)
{
    struct drain *d = mem_zalloc(sizeof(*d));

    d->magic = DRAIN_MAGIC;
    d->config = *config;
    d->look.fn = on_look;
    crew_leave(config->crew);
    timer_start(config->loop, &d->look, LOOK);
    return d;
}

void drain_free(struct drain **dp)
{
    struct drain *d = *dp;

    if (d == NULL)
        return;
    sd_check(d, DRAIN_MAGIC);
    timer_stop(d->config.loop, &d->look);
    d->magic = 0;
    mem_free(d);
    *dp = NULL;
}

static unsigned default_rate(const struct drain *d)
{
    uint64_t ms = d->config.limit > 0 ? d->config.limit : 1;
    uint64_t rate = (all_conns(d) * 1000 + ms - 1) / ms;

    if (rate > DRAIN_RATE_MAX)
        return DRAIN_RATE_MAX;
    return rate > DRAIN_RATE_MIN ? (unsigned)rate : DRAIN_RATE_MIN;
}

void drain_set_rate(struct drain *d, unsigned rate)
{
    sd_check(d, DRAIN_MAGIC);
    sd_assert(rate <= DRAIN_RATE_MAX);
    d->rate = rate > 0 ? rate : default_rate(d);
    log_info("draining: %u conns left, %u a second", (unsigned)all_conns(d),
             d->rate);
    share_out(d);
}

void drain_json(const struct drain *d, struct buf *out)
{
    sd_check(d, DRAIN_MAGIC);
    buf_printf(out, "{\"ok\":true,\"conns\":%u,\"rate\":%u}",
               (unsigned)all_conns(d), d->rate);
}
