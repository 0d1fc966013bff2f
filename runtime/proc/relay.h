/* relay.h - the process that carries messages between nodes. */
#ifndef SD_PROC_RELAY_H
#define SD_PROC_RELAY_H

#include "proc/heritage.h"

/* Its whole life.  The exit status. */
int relay_run(const struct heritage *h);

#endif
