/* abroad_interest.c - relays know which topics and groups somebody here wants.
 *
 * cluster/teller.h says what is told when; here it gets its turns, and the
 * topics and groups of people.h.  A relay that was found in the middle of a
 * turn hears us in the next. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "cluster/uplink.h"
#include "vm/abroad_state.h"
#include "vm/people.h"
#include "vm/state.h"

enum {
    LOOK = 100 /* ms */
};

static void on_emit(void *arg, void *relay, struct slice payload)
{
    (void)arg;
    uplink_tell_one(relay, FRAMES_INTEREST, payload);
}

static size_t on_unsent(void *arg, void *relay)
{
    (void)arg;
    return uplink_unsent(relay);
}

static void on_over(void *arg, bool is_over)
{
    const struct abroad *a = arg;

    if (is_over)
        log_warn("%u topics and %u groups are too many for relays: they send "
                 "us all publishes of other nodes",
                 topics_filters(a->all->people->topics),
                 topics_filters(a->all->people->groups));
    else
        log_info("relays keep our topics and groups again");
}

static void on_turn(struct timer *timer)
{
    struct abroad *a = list_entry(timer, struct abroad, turn);
    uint32_t wait = teller_turn(a->teller, clock_ms());

    timer_start(a->all->env.loop, timer, wait > 0 && wait < LOOK ? wait : LOOK);
}

void abroad_open_interest(struct abroad *a)
{
    struct teller_calls calls = {
        .arg = a, .emit = on_emit, .unsent = on_unsent, .on_over = on_over};

    a->teller = teller_new(&calls, &(struct teller_limits){0},
                           a->all->people->topics, a->all->people->groups);
    a->turn.fn = on_turn;
    timer_start(a->all->env.loop, &a->turn, LOOK);
}

void abroad_close_interest(struct abroad *a)
{
    timer_stop(a->all->env.loop, &a->turn);
    teller_free(&a->teller);
}

void abroad_on_relay(void *arg, void *relay)
{
    struct abroad *a = arg;

    teller_open(a->teller, relay);
    timer_start(a->all->env.loop, &a->turn, 1);
}

void abroad_on_relay_gone(void *arg, void *relay)
{
    struct abroad *a = arg;

    teller_close(a->teller, relay);
}
