/* sig.h - a signal as a callback on the loop. */
#ifndef SD_LOOP_SIG_H
#define SD_LOOP_SIG_H

#include "loop/loop.h"

struct sig;

/* Call fn(arg, signum) for every `signum` from now on.  0 or a uv code. */
int sig_open(struct sig **out, struct loop *l, int signum,
             void (*fn)(void *arg, int signum), void *arg);

/* Idempotent; does not keep the loop alive meanwhile. */
void sig_close(struct sig **sp);

#endif
