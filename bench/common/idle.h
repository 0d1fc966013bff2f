/* idle.h - memory a server keeps for conns that do nothing. */
#ifndef SD_BENCH_IDLE_H
#define SD_BENCH_IDLE_H

#include "common/client.h"

struct idle_result {
    unsigned conns;
    double seconds;    /* to open them and do one request on each */
    double pss_before; /* bytes */
    double pss_after;
    char error[256]; /* "" when every reply was right */
};

/* Open plan->conns conns, do one request on each, let the server come to
 * rest and compare its PSS with that before.  0 or -1. */
int idle_run(struct idle_result *out, const struct client_plan *plan);

#endif
