/* shtimer.h - when each configured timer runs next: shared by all workers.
 *
 * One block per node in shared memory.  Each worker asks for every timer that
 * looks due; the claim is one compare-and-swap of its due time, so of any
 * number of askers one wins, and a worker that takes over neither repeats nor
 * skips a run.  Pure functions on the block: the caller brings the time
 * (monotonic ms, of the machine) and says who is alive. */
#ifndef SD_IPC_SHTIMER_H
#define SD_IPC_SHTIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHTIMER_MAX = 256,
    SHTIMER_NEVER = 0 /* due time of a timer that runs no more */
};

struct shtimer; /* the block; zeroed memory is a block without timers */

struct shtimer_plan {
    uint64_t every;    /* ms between runs; 0: runs once */
    uint64_t max_runs; /* 0: no end */
    bool overlap;      /* run also while the last run has not ended */
};

/* Says whether the process (slot, epoch) still lives. */
typedef bool (*shtimer_alive)(void *arg, unsigned slot, uint16_t epoch);

enum shtimer_claim {
    SHTIMER_NOT_DUE,
    SHTIMER_RUN,     /* yours: run it, then shtimer_done() */
    SHTIMER_SKIPPED, /* due, but the last run still goes on: moved on */
    SHTIMER_TAKEN    /* somebody else was first */
};

size_t shtimer_size(void);

/* Plan timer `i` to run first at `first_due`, unless generation `gen` or a
 * later one has planned it already (a respawned worker plans again: nothing
 * changes).  A plan of a newer generation keeps no count.  True if planned. */
bool shtimer_plan(struct shtimer *t, unsigned i, uint32_t gen,
                  const struct shtimer_plan *plan, uint64_t first_due);

/* When to look again; SHTIMER_NEVER when it has ended. */
uint64_t shtimer_due(const struct shtimer *t, unsigned i);

/* Ask for timer `i`.  The next due time is the first multiple of `every`
 * after `now`, counted from the due time: ticks missed in between are one
 * run.  On SHTIMER_RUN *scheduled is the due time and *run the number of the
 * run, from 1; both untouched otherwise. */
struct shtimer_asker {
    uint64_t now;
    unsigned slot;
    uint16_t epoch;
    shtimer_alive alive;
    void *arg;
};
enum shtimer_claim shtimer_claim(struct shtimer *t, unsigned i,
                                 const struct shtimer_asker *who,
                                 uint64_t *scheduled, uint64_t *run);

/* The run that (slot, epoch) claimed has ended. */
void shtimer_done(struct shtimer *t, unsigned i, unsigned slot, uint16_t epoch);

/* Is a run of a living process going on? */
bool shtimer_is_running(const struct shtimer *t, unsigned i,
                        const struct shtimer_asker *who);
uint64_t shtimer_runs(const struct shtimer *t, unsigned i);

#endif
