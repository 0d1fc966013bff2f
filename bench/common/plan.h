/* plan.h - what a run of the load generator shall do, and what came of it. */
#ifndef SD_BENCH_PLAN_H
#define SD_BENCH_PLAN_H

#include <stdint.h>

#include "common/hist.h"
#include "common/proc.h"
#include "common/workload.h"

struct client_plan {
    const struct workload *work;
    const char *address;
    int port;
    unsigned conns;
    unsigned depth;    /* requests in flight on each conn */
    uint64_t warmup;   /* requests before the measured ones */
    uint64_t requests; /* measured requests, at most */
    double seconds;    /* measured time, at most; also that of the warm-up */
    double stall;      /* no reply for so long is an error */
    struct proc_group *server; /* may be empty */
};

struct client_result {
    uint64_t requests;
    double seconds;
    struct proc_usage usage; /* of the server, in the measured part */
    struct hist latency;
    char error[256]; /* "" when every reply was right */
};

#endif
