/* loop.h - the event loop of a process: the only owner of a uv_loop_t.
 *
 * One turn: wait for I/O, run I/O callbacks, expired timers, deferred jobs,
 * then the hooks; then the loop may sleep again.  What callbacks queue
 * (replies, Redis commands, ring records) is therefore written once per turn,
 * by hooks. */
#ifndef SD_LOOP_LOOP_H
#define SD_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;
struct uv_loop_s;
struct timers;

/* 0 or a negative uv code; on error *out is untouched. */
int loop_open(struct loop **out);

/* Turns until loop_stop() or until nothing is left that could wake it up. */
void loop_run(struct loop *l);

/* End loop_run() after the turn at hand; hooks run once more. */
void loop_stop(struct loop *l);

/* One turn; sleeps only when `wait`.  For specs and for slow ends. */
void loop_turn(struct loop *l, bool wait);

/* Close: handles that are closing get their callbacks first, so that memory
 * freed there is freed; a handle still open is our bug. */
void loop_close(struct loop **lp);

/* For handles of other layers; they close them before loop_close(). */
struct uv_loop_s *loop_uv(struct loop *l);

/* Milliseconds of clock_ms(), read once per turn: when I/O callbacks begin. */
uint64_t loop_now(struct loop *l);

/* Private to loop/timer.c. */
struct timers *loop_timers(struct loop *l);

/* A hook runs at the end of every turn, in order of rank, lowest first.  It
 * returns true when it made work for others (bytes to flush, records to
 * send): then all hooks run again, and the loop does not sleep before one
 * round was quiet.  Embedded by its owner, opened by zeroing; may be removed
 * at any time. */
struct loop_hook {
    struct list node;
    bool (*fn)(struct loop_hook *hook);
    int rank;
    struct loop *loop; /* private: where it was added */
};

enum loop_rank {
    LOOP_WORK = 0,   /* makes work for others: conns with packets waiting */
    LOOP_FLUSH = 10, /* writes what was queued */
};

void loop_hook_add(struct loop *l, struct loop_hook *hook);
void loop_hook_del(struct loop_hook *hook);

/* Run once, at the end of this turn, before the hooks; a job deferred by a job
 * runs in the next turn, and the loop does not sleep in between.  Embedded by
 * its owner, opened by zeroing; deferring it twice is once. */
struct loop_job {
    struct list node;
    void (*fn)(struct loop_job *job);
};

void loop_defer(struct loop *l, struct loop_job *job);
void loop_undefer(struct loop_job *job);

#endif
