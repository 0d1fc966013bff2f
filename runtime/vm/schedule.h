/* schedule.h - the timers of config/timers.lua, run by one worker of a node.
 *
 * Due times and counts are in shared memory (ipc/shtimer.h).  Every worker
 * looks; the lowest ready one claims and runs, so a takeover neither doubles
 * nor misses a run. */
#ifndef SD_VM_SCHEDULE_H
#define SD_VM_SCHEDULE_H

struct schedule;
struct vm;

/* NULL when this process runs none. */
struct schedule *schedule_open(struct vm *vm);
void schedule_close(struct schedule **sp);

#endif
