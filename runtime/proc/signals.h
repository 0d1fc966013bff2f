/* signals.h - the signals that a master answers, by its loop. */
#ifndef SD_PROC_SIGNALS_H
#define SD_PROC_SIGNALS_H

#include "loop/loop.h"

struct signals;

/* Before anything else is done: who comes early shall wait. */
void signals_hold(void);

/* From here on fn gets them, those that waited first.  0 or a uv code; then,
 * too, signals_close() is to follow. */
int signals_open(struct signals **out, struct loop *l,
                 void (*fn)(void *arg, int signum), void *arg);

/* Idempotent. */
void signals_close(struct signals **sp);

#endif
