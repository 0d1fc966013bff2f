/* worker.h - the process that holds conns. */
#ifndef SD_PROC_WORKER_H
#define SD_PROC_WORKER_H

#include "proc/heritage.h"

/* Its whole life.  The exit status. */
int worker_run(const struct heritage *h);

#endif
