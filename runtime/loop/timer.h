/* timer.h - timers of a loop: one wheel, one uv_timer, any number of struct
 * timer.
 *
 * Expiry is judged after the sockets of the turn were read, against the time
 * at which the turn began: a deadline that passed while the process was busy
 * or frozen does not beat the bytes that arrived before it. */
#ifndef SD_LOOP_TIMER_H
#define SD_LOOP_TIMER_H

#include <stdint.h>

#include "loop/loop.h"
#include "loop/wheel.h"

/* Call t->fn(t) once, `ms` from now (at least 1), from the loop.  A running
 * timer starts anew.  `t` is zeroed memory of the caller with `fn` set; stop
 * it before it goes. */
void timer_start(struct loop *l, struct timer *t, uint64_t ms);
void timer_stop(struct loop *l, struct timer *t);

/* Private to loop/loop.c. */
int timers_open(struct timers **out, struct loop *l);
void timers_expire(struct timers *ts); /* after I/O */
void timers_arm(struct timers *ts);    /* before sleep */
void timers_close(struct timers **tp);

#endif
