/* stages.h - the three parts of a run: warm-up, measured, drain.
 *
 * The server's usage is read at both edges of the middle one. */
#ifndef SD_BENCH_STAGES_H
#define SD_BENCH_STAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/plan.h"

enum stage {
    STAGE_WARMUP,
    STAGE_MEASURE,
    STAGE_DRAIN,
};

struct stages {
    const struct client_plan *plan;
    struct client_result *result;
    enum stage stage;
    uint64_t done;  /* replies of this stage; counted by the caller */
    uint64_t began; /* when this stage began */
    struct proc_usage before;
    bool failed;
};

void stages_begin(struct stages *s, const struct client_plan *plan,
                  struct client_result *result);

/* Enter the next stage when enough was done, or for long enough. */
void stages_advance(struct stages *s, uint64_t now);

/* The first error is the one that is kept; the run is over then. */
__attribute__((format(printf, 2, 3))) void stages_fail(struct stages *s,
                                                       const char *fmt, ...);

#endif
