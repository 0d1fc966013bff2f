/* drain.h - a node leaves: its conns are closed at a pace, then it is empty.
 *
 * The master's side.  Workers close by themselves (proc/pace.h); here the
 * node's rate is shared out among them by the conns that they have left. */
#ifndef SD_PROC_DRAIN_H
#define SD_PROC_DRAIN_H

#include <stdint.h>

#include "base/buf.h"
#include "ipc/slots.h"
#include "loop/loop.h"
#include "proc/crew.h"

struct drain;

struct drain_config {
    struct loop *loop;
    struct crew *crew; /* both borrowed until drain_free() */
    const struct slots *slots;
    unsigned workers;
    uint64_t limit; /* ms: where no rate is given, all conns go within it */
    /* No conn is left.  Once, from the loop. */
    void (*on_empty)(void *arg);
    void *arg;
};

/* Begin; drain_set_rate() comes next.  No worker accepts any more. */
struct drain *drain_new(const struct drain_config *config);
void drain_free(struct drain **dp); /* harmless when it is NULL */

/* So many conns a second from now on; 0: as many as the limit asks for, and
 * DRAIN_RATE_MIN at least. */
enum {
    DRAIN_RATE_MIN = 10,
    DRAIN_RATE_MAX = 1000000
};
void drain_set_rate(struct drain *d, unsigned rate);

/* {"ok":true,"conns":812,"rate":28}: what is left, and how fast it goes. */
void drain_json(const struct drain *d, struct buf *out);

#endif
