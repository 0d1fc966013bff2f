/* client.h - the loop of the load generator: many conns, a window of requests
 * on each, every reply judged. */
#ifndef SD_BENCH_CLIENT_H
#define SD_BENCH_CLIENT_H

#include "common/plan.h"

/* Run the plan to its end or to the first error.  *out is filled either way;
 * returns 0 or -1. */
int client_run(struct client_result *out, const struct client_plan *plan);

#endif
