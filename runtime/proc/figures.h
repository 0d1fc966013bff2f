/* figures.h - what a process says of itself at each heartbeat: its line of the
 * slot table, its counters, and, a worker, those of its ports and its slowest
 * conns. */
#ifndef SD_PROC_FIGURES_H
#define SD_PROC_FIGURES_H

#include <stdint.h>

#include "proc/process.h"

/* `lag_ms`: how late the heartbeat is. */
void figures_publish(struct process *p, uint64_t lag_ms);

#endif
