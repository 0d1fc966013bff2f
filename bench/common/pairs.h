/* pairs.h - what a message costs that one worker sends to a uid of another. */
#ifndef SD_BENCH_PAIRS_H
#define SD_BENCH_PAIRS_H

#include "common/plan.h"

/* plan->conns senders on one worker, as many receivers on another, with a uid
 * each; plan->depth messages of each pair are on their way.  Requests are
 * messages. */
int pairs_run(struct client_result *out, const struct client_plan *plan);

#endif
