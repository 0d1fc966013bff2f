/* fanout.h - what one message costs that many conns receive. */
#ifndef SD_BENCH_FANOUT_H
#define SD_BENCH_FANOUT_H

#include "common/plan.h"

/* plan->conns conns watch, one more publishes plan->depth messages at one go,
 * and the next when every watcher has them all.  Requests are deliveries. */
int fanout_run(struct client_result *out, const struct client_plan *plan);

#endif
