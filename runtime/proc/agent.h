/* agent.h - the process beside the data plane: it owns the admin port. */
#ifndef SD_PROC_AGENT_H
#define SD_PROC_AGENT_H

#include "proc/heritage.h"

/* Its whole life.  The exit status. */
int agent_run(const struct heritage *h);

#endif
