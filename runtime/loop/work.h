/* work.h - one call on another thread, for what would hold the loop up. */
#ifndef SD_LOOP_WORK_H
#define SD_LOOP_WORK_H

#include "loop/loop.h"

/* Run fn(arg) on a thread, then done(arg) on the loop's.  The loop does not
 * end loop_run() by itself before that, but loop_stop() ends it. */
void work_start(struct loop *l, void (*fn)(void *arg), void (*done)(void *arg),
                void *arg);

#endif
