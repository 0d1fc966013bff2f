/* timer.c - see timer.h.
 *
 * The uv_timer only ends the sleep; libuv 1.44 fires it before it polls, so
 * its callback does nothing and the wheel is asked in the loop's check phase,
 * behind the I/O callbacks.  A process that was frozen needs more: libuv comes
 * back from an interrupted poll without looking at the sockets when its time
 * is over.  So a deadline that is found late is judged only after one more
 * poll, which does not sleep.
 *
 * The uv_timer is moved only when the wheel's next due changed, so a busy loop
 * with a far deadline never touches it. */
#include "loop/timer.h"

#include <stdbool.h>
#include <uv.h>

#include "base/assert.h"
#include "base/mem.h"

#define TIMERS_MAGIC 0x7133e125u

enum {
    LATE_MS = 20
};

struct timers {
    unsigned magic;
    bool is_polling_again;
    uint64_t judged; /* the time that counts after polling again */
    struct loop *loop;
    uint64_t armed; /* what uv_timer waits for; UINT64_MAX: nothing */
    uv_timer_t uv;
    struct wheel wheel;
};

static void on_timer(uv_timer_t *uv)
{
    struct timers *ts = uv->data;

    sd_check(ts, TIMERS_MAGIC);
    ts->armed = UINT64_MAX;
}

static void on_close(uv_handle_t *handle)
{
    struct timers *ts = handle->data;

    sd_check(ts, TIMERS_MAGIC);
    ts->magic = 0;
    mem_free(ts);
}

int timers_open(struct timers **out, struct loop *l)
{
    struct timers *ts = mem_zalloc(sizeof(*ts));

    ts->magic = TIMERS_MAGIC;
    ts->loop = l;
    ts->armed = UINT64_MAX;
    ts->uv.data = ts;
    uv_timer_init(loop_uv(l), &ts->uv);
    wheel_init(&ts->wheel, loop_now(l));
    *out = ts;
    return 0;
}

void timers_close(struct timers **tp)
{
    if (*tp == NULL)
        return;
    sd_check(*tp, TIMERS_MAGIC);
    uv_close((uv_handle_t *)&(*tp)->uv, on_close);
    *tp = NULL;
}

void timers_expire(struct timers *ts)
{
    uint64_t now, next;
    struct timer *t;

    sd_check(ts, TIMERS_MAGIC);
    now = loop_now(ts->loop);
    next = wheel_next(&ts->wheel);
    if (next > now)
        return;
    if (ts->is_polling_again) {
        ts->is_polling_again = false;
        now = ts->judged;
    } else if (now - next > LATE_MS) {
        ts->is_polling_again = true;
        ts->judged = now;
        return; /* what is due keeps the next poll from sleeping */
    }
    while ((t = wheel_pop(&ts->wheel, now)) != NULL)
        t->fn(t);
}

void timers_arm(struct timers *ts)
{
    uint64_t next = wheel_next(&ts->wheel);
    uint64_t now;

    if (next == ts->armed)
        return;
    ts->armed = next;
    if (next == UINT64_MAX) {
        uv_timer_stop(&ts->uv);
        return;
    }
    now = loop_now(ts->loop);
    /* uv measures from the beginning of its turn: make up for what passed. */
    uv_update_time(loop_uv(ts->loop));
    uv_timer_start(&ts->uv, on_timer, next > now ? next - now : 0, 0);
}

void timer_start(struct loop *l, struct timer *t, uint64_t ms)
{
    uint64_t now = loop_now(l);

    sd_assert(t->fn != NULL);
    wheel_start(&loop_timers(l)->wheel, t,
                ms < UINT64_MAX - now ? now + ms : UINT64_MAX);
}

void timer_stop(struct loop *l, struct timer *t)
{
    wheel_stop(&loop_timers(l)->wheel, t);
}
