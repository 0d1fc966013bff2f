/* slow.h - memory of a worker whose clients do not read. */
#ifndef SD_BENCH_SLOW_H
#define SD_BENCH_SLOW_H

#include "common/plan.h"

struct slow_result {
    struct client_result run; /* requests: messages published, times all */
    double megabytes;         /* sent to all, per second */
    double rss_before;        /* of plan->server with no conns, bytes */
    double rss_peak;
    double dropped; /* share of what was for those that did not read */
};

/* plan->conns conns that never read and one that reads everything watch what
 * is published for plan->seconds.  Then the others read too, what was left for
 * them.  0 or -1. */
int slow_run(struct slow_result *out, const struct client_plan *plan);

#endif
