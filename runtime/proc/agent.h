/* agent.h - the process beside the data plane: it owns the admin port. */
#ifndef SD_PROC_AGENT_H
#define SD_PROC_AGENT_H

#include "proc/heritage.h"

/* What somebody asks an agent for, who then has its answer by his socket. */
enum agent_ask {
    AGENT_CLUSTER, /* who there is: one line */
    AGENT_ROLL     /* a rolling reload: lines, see rolling.h */
};

/* Its whole life.  The exit status. */
int agent_run(const struct heritage *h);

#endif
