/* wheel.h - a pure hierarchical timer wheel.
 *
 * Starting and stopping are O(1) whatever the number of timers; expiring
 * costs at most one move per level.  Time is a plain number of ticks (loop/
 * uses milliseconds), so that specs need no clock. */
#ifndef SD_LOOP_WHEEL_H
#define SD_LOOP_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

/* Embedded by its owner; opened by zeroing.  `fn` and `due` may be read. */
struct timer {
    struct list node;
    uint64_t due;
    void (*fn)(struct timer *t);
};

enum {
    WHEEL_BITS = 6,
    WHEEL_SLOTS = 64,
    WHEEL_LEVELS = 7
};

struct wheel {
    uint64_t now;
    size_t count;                /* timers running */
    uint64_t busy[WHEEL_LEVELS]; /* one bit per slot that is not empty */
    struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now);

/* Run `t` at `due`; what is not in the future becomes the next tick, so that a
 * timer which restarts itself cannot loop.  A running timer is moved.  `due`
 * is cut to 2^42 - 1 ticks (139 years of milliseconds) from now. */
void wheel_start(struct wheel *w, struct timer *t, uint64_t due);

/* Harmless when it does not run. */
void wheel_stop(struct wheel *w, struct timer *t);

static inline bool timer_is_on(const struct timer *t)
{
    return t->node.next != NULL;
}

/* The next timer with due <= now, stopped, or NULL.  In order of due, then of
 * starting.  `now` that goes back is taken as the last one. */
struct timer *wheel_pop(struct wheel *w, uint64_t now);

/* A time not behind the next timer's due and, while any runs, later than
 * `now`: when to look again.  UINT64_MAX: nothing runs. */
uint64_t wheel_next(const struct wheel *w);

#endif
