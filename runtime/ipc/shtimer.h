/* shtimer.h - when each configured timer runs next: shared by all workers.
 *
 * One block per node in shared memory.  The lowest ready worker looks at every
 * timer; while two workers both take themselves for the lowest, the claim
 * decides: it is one compare-and-swap of the due time, so of any number of
 * askers one wins, and a worker that takes over neither repeats nor skips a
 * run.  Pure functions on the block: the caller brings the time (monotonic
 * ms, the same in all processes), the plan and who is alive.
 *
 * A timer keeps its place over the generations by a key, that of its name and
 * rhythm: a reload that leaves both alone neither doubles nor misses a run. */
#ifndef SD_IPC_SHTIMER_H
#define SD_IPC_SHTIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHTIMER_MAX = 256,     /* timers of one generation */
    SHTIMER_PLACES = 1024, /* with those of earlier ones that still run */
    SHTIMER_NEVER = 0      /* due time of a timer that runs no more */
};

struct shtimer; /* the block; zeroed memory is a block without timers */

/* Says whether the process (slot, epoch) still lives. */
typedef bool (*shtimer_alive)(void *arg, unsigned slot, uint16_t epoch);

/* Who asks.  `gen` is the generation of the code whose timers it means; a
 * process of another generation than the plan's gets nothing. */
struct shtimer_asker {
    uint32_t gen;
    unsigned slot;
    uint16_t epoch;
    shtimer_alive alive;
    void *arg;
};

enum shtimer_verdict {
    SHTIMER_RUN,     /* yours: run it, then shtimer_done() */
    SHTIMER_SKIPPED, /* the last run still goes on: this tick is dropped */
    SHTIMER_TAKEN    /* not due as said: somebody else was first */
};

size_t shtimer_size(void);

/* Master, before any process of generation `gen` runs or before the reload to
 * it is committed: timers with these keys (never 0) are the ones from now on.
 * Those that were there go on as planned; those that are gone run no more,
 * nor does any under an older generation. */
void shtimer_adopt(struct shtimer *t, const uint64_t *keys, unsigned n,
                   uint32_t gen, const struct shtimer_asker *who);

/* The place of a key that was adopted; -1: there is none. */
int shtimer_place(const struct shtimer *t, uint64_t key);

/* Plan timer `i` to run first at `first_due` (0: never), with no runs so far,
 * unless generation `gen` or a newer one has planned it already: a respawned
 * worker plans again and changes nothing.  True if it was planned now. */
bool shtimer_plan(struct shtimer *t, unsigned i, uint32_t gen,
                  uint64_t first_due);

/* When it runs next; SHTIMER_NEVER when it has ended or `gen` has no plan. */
uint64_t shtimer_due(const struct shtimer *t, unsigned i, uint32_t gen);

/* Runs claimed so far under the plan of `gen`. */
uint64_t shtimer_runs(const struct shtimer *t, unsigned i, uint32_t gen);

/* The first time after `now` that is `due` plus a multiple of `every` > 0:
 * ticks that were missed are one run, and the beat is kept. */
uint64_t shtimer_next(uint64_t due, uint64_t every, uint64_t now);

/* Claim the run that is due at `due`, as shtimer_due() said, and let the
 * timer be due next at `next` (SHTIMER_NEVER: this was the last).  Without
 * `overlap` the tick is dropped while a run of a living process goes on. */
enum shtimer_verdict shtimer_claim(struct shtimer *t, unsigned i,
                                   const struct shtimer_asker *who,
                                   uint64_t due, uint64_t next, bool overlap);

/* The run that `who` claimed has ended.  Not needed with `overlap`. */
void shtimer_done(struct shtimer *t, unsigned i,
                  const struct shtimer_asker *who);

/* Does a run of a living process go on? */
bool shtimer_is_running(const struct shtimer *t, unsigned i,
                        const struct shtimer_asker *who);

#endif
