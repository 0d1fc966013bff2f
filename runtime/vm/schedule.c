/* schedule.c - see schedule.h.
 *
 * A worker that is not the lowest ready one looks again a few times a second:
 * that is how late a takeover may be.  Ticks outside a timer's window
 * (from, to) are left out when the next due time is computed, so each claim
 * is a run. */
#include "vm/schedule.h"

#include <lua.h>
#include <time.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/mesh.h"
#include "ipc/running.h"
#include "ipc/shtimer.h"
#include "ipc/slots.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "vm/state.h"

#define LOOK_MS    200
#define DAY_MINUTE (24 * 60)

struct schedule {
    struct vm *vm;
    struct timer timer;
    int place[SHTIMER_MAX]; /* of each of the configuration's, -1: none */
};

static bool is_alive(void *arg, unsigned slot, uint16_t epoch)
{
    struct vm *vm = arg;

    return slots_is_alive(mesh_slots(vm->env.mesh), slot, epoch) != 0;
}

static struct shtimer_asker asker(struct vm *vm)
{
    return (struct shtimer_asker){.gen = vm->env.generation,
                                  .slot = vm->env.slot,
                                  .epoch = (uint16_t)vm->env.epoch,
                                  .alive = is_alive,
                                  .arg = vm};
}

/* Is this moment inside the timer's window of the local day?  A window that
 * ends before it begins goes over midnight. */
static bool in_window(const struct conf_timer *t, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    int minute;

    if (t->from < 0 || t->to < 0)
        return true;
    localtime_r(&seconds, &tm);
    minute = tm.tm_hour * 60 + tm.tm_min;
    if (t->from <= t->to)
        return minute >= t->from && minute < t->to;
    return minute >= t->from || minute < t->to;
}

/* The first tick at or after `due` that is inside the window.  A minute is
 * the window's grain, so shorter periods are jumped over a minute's worth at
 * a time, then back tick by tick from the minute that fits. */
static uint64_t into_window(const struct conf_timer *t, uint64_t due,
                            uint64_t now)
{
    uint64_t every = t->every > 0 ? t->every : 60000;
    uint64_t step = every < 60000 ? every * (60000 / every) : every;
    uint64_t first = due;
    int64_t wall = clock_wall_ms() - (int64_t)now;
    unsigned i;

    for (i = 0; i < 2 * DAY_MINUTE; i++) {
        if (in_window(t, wall + (int64_t)due))
            break;
        due += step;
    }
    while (due - first >= every && in_window(t, wall + (int64_t)(due - every)))
        due -= every;
    return due;
}

/* The first beat of the cluster after `at`: all nodes count from the same wall
 * clock, so that their ticks are the same ones.  lua/sd/ticks.lua */
static uint64_t beat_after(const struct conf_timer *t, uint64_t at)
{
    int64_t wall = clock_wall_ms() - (int64_t)clock_ms() + (int64_t)at;

    return at + t->every - (uint64_t)wall % t->every;
}

/* Ticks come early by less than half a period when clocks are corrected. */
static uint64_t next_tick(const struct conf_timer *t, uint64_t due,
                          uint64_t now)
{
    uint64_t at = due + t->every / 2;

    if (!t->is_cluster)
        return shtimer_next(due, t->every, now);
    return beat_after(t, at > now ? at : now);
}

static uint64_t first_tick(const struct conf_timer *t, uint64_t now)
{
    if (!t->is_cluster || t->every == 0)
        return now + (t->delay > 0 ? t->delay : t->every);
    return beat_after(t, t->delay == t->every ? now : now + t->delay);
}

static uint64_t next_due(const struct conf_timer *t, uint64_t due,
                         uint64_t runs, uint64_t now)
{
    if (t->every == 0 || (t->max_runs > 0 && runs + 1 >= t->max_runs))
        return SHTIMER_NEVER;
    return into_window(t, next_tick(t, due, now), now);
}

static void run_ended(struct co *co, int status)
{
    struct vm *vm = co->vm;
    struct shtimer_asker who = asker(vm);

    if (status != 0)
        log_error("timer: %s", co_error_text(co->L));
    shtimer_done(vm->env.timers, (unsigned)co->number, &who);
}

static void run(struct vm *vm, unsigned i, unsigned place, uint64_t due,
                uint64_t runs)
{
    struct co *co = vm_enter(vm, vm->entry[ENTRY_TIMER], CO_CALL, 0);
    struct shtimer_asker who = asker(vm);
    double late = (double)(loop_now(vm->env.loop) - due);

    if (co == NULL) {
        shtimer_done(vm->env.timers, place, &who);
        return;
    }
    co->number = place;
    co->on_end = run_ended;
    co->what = RUNNING_TIMER;
    co->name = vm->env.conf->timers[i].name;
    lua_pushinteger(co->L, (lua_Integer)i + 1);
    lua_pushnumber(co->L, ((double)clock_wall_ms() - late) / 1000);
    lua_pushnumber(co->L, (double)runs + 1);
    co_start(co, 3);
}

/* Claim a run that is due, and run it. */
static void claim(struct vm *vm, unsigned i, unsigned place, uint64_t due,
                  uint64_t now)
{
    const struct conf_timer *t = &vm->env.conf->timers[i];
    struct shtimer_asker who = asker(vm);
    uint64_t runs = shtimer_runs(vm->env.timers, place, who.gen);
    uint64_t next = next_due(t, due, runs, now);

    if (next == SHTIMER_NEVER && t->every > 0 && !t->overlap &&
        shtimer_is_running(vm->env.timers, place, &who))
        next = into_window(t, next_tick(t, due, now), now);
    if (shtimer_claim(vm->env.timers, place, &who, due, next, t->overlap) ==
        SHTIMER_RUN)
        run(vm, i, place, due, runs);
}

/* Run what is due; the earliest due time that is left. */
static uint64_t run_due(struct schedule *s, uint64_t now)
{
    struct vm *vm = s->vm;
    uint32_t gen = vm->env.generation;
    uint64_t first = UINT64_MAX, due;

    for (unsigned i = 0; i < vm->env.conf->ntimers; i++) {
        unsigned place = (unsigned)s->place[i];

        if (s->place[i] < 0)
            continue;
        due = shtimer_due(vm->env.timers, place, gen);
        if (due != SHTIMER_NEVER && due <= now) {
            claim(vm, i, place, due, now);
            due = shtimer_due(vm->env.timers, place, gen);
        }
        if (due != SHTIMER_NEVER && due < first)
            first = due;
    }
    return first;
}

/* One that drains still has conns, and the world they know goes on. */
static bool is_serving(const struct slots *slots, unsigned i)
{
    enum slot_state state = slots_state(slots, i);

    return state == SLOT_READY || state == SLOT_DRAINING;
}

/* Does no worker below us serve? */
static bool is_lowest(const struct vm *vm)
{
    struct slots *slots = mesh_slots(vm->env.mesh);
    unsigned i;

    for (i = 0; i < vm->env.slot; i++) {
        if (slots_role(slots, i) == SLOT_WORKER && is_serving(slots, i))
            return false;
    }
    return is_serving(slots, vm->env.slot);
}

static void on_timer(struct timer *timer)
{
    struct schedule *s = list_entry(timer, struct schedule, timer);
    struct vm *vm = s->vm;
    uint64_t now = loop_now(vm->env.loop), wait = LOOK_MS, due;

    if (is_lowest(vm)) {
        due = run_due(s, now);
        if (due > now && due - now < wait)
            wait = due - now;
        else if (due <= now)
            wait = 1;
    }
    timer_start(vm->env.loop, &s->timer, wait);
}

struct schedule *schedule_open(struct vm *vm)
{
    const struct conf *conf = vm->env.conf;
    uint64_t now = loop_now(vm->env.loop);
    struct schedule *s;
    unsigned i;

    if (vm->env.role != VM_WORKER || conf->ntimers == 0 ||
        vm->env.timers == NULL)
        return NULL;
    s = mem_zalloc(sizeof(*s));
    for (i = 0; i < SHTIMER_MAX; i++)
        s->place[i] = -1;
    for (i = 0; i < conf->ntimers && i < SHTIMER_MAX; i++) {
        const struct conf_timer *t = &conf->timers[i];
        uint64_t first = first_tick(t, now);

        s->place[i] = shtimer_place(vm->env.timers, conf_timer_key(conf, i));
        if (s->place[i] >= 0)
            shtimer_plan(vm->env.timers, (unsigned)s->place[i],
                         vm->env.generation, into_window(t, first, now));
    }
    s->vm = vm;
    s->timer.fn = on_timer;
    timer_start(vm->env.loop, &s->timer, 1);
    return s;
}

void schedule_close(struct schedule **sp)
{
    struct schedule *s = *sp;

    if (s == NULL)
        return;
    timer_stop(s->vm->env.loop, &s->timer);
    mem_free(s);
    *sp = NULL;
}
