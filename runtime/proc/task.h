/* task.h - the process that runs one task at a time, and may block in it. */
#ifndef SD_PROC_TASK_H
#define SD_PROC_TASK_H

#include "proc/heritage.h"

/* Its whole life.  The exit status. */
int task_run(const struct heritage *h);

#endif
