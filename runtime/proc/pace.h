/* pace.h - closes the conns of a worker one after the other, at a pace. */
#ifndef SD_PROC_PACE_H
#define SD_PROC_PACE_H

#include <stdint.h>

#include "loop/loop.h"
#include "loop/timer.h"

struct net;

/* Embedded; zeroed at first. */
struct pace {
    struct loop *loop;
    struct net *net; /* NULL: not begun */
    uint32_t rate;   /* conns in 1000 seconds */
    uint64_t credit; /* what may be closed now, in millionths of a conn */
    uint64_t paid_at;
    struct timer timer;
};

/* Close that many of the net's conns in 1000 seconds; again: as many from now
 * on.  net_drain() was called before. */
void pace_set(struct pace *p, struct loop *loop, struct net *net,
              uint32_t rate);

/* Idempotent, also before the first pace_set(). */
void pace_stop(struct pace *p);

#endif
