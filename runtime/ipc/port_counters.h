/* port_counters.h - what a worker counts of each of its ports, published as
 * ipc/counters.h is, and going on where the last process has ended. */
#ifndef SD_IPC_PORT_COUNTERS_H
#define SD_IPC_PORT_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "ipc/counters.h"

enum port_counter {
    PORT_CONNS, /* a gauge */

    /* Pushes; accepted is the sum of the others. */
    PORT_PUSHES_ACCEPTED,
    PORT_PUSHES_DELIVERED,
    PORT_PUSHES_IN_FLIGHT, /* a gauge */
    PORT_PUSHES_CRASHED,
    PORT_PUSHES_DROPPED, /* by reason: + enum push_drop */

    PORT_SLOW_CONNS = PORT_PUSHES_DROPPED + COUNTERS_DROPS,
    PORT_COUNTERS
};

struct port_counters; /* of one worker, zeroed at first */

/* The owner's end. */
struct port_counters_writer {
    struct port_counters *page;
    unsigned ports;
    uint64_t *base; /* of those who had the slot before */
    uint64_t *sum;
};

/* Bytes; a multiple of 64, as its place must be. */
size_t port_counters_size(unsigned ports);

/* Owner: take over.  What the last process had in flight has crashed. */
void port_counters_begin(struct port_counters_writer *w,
                         struct port_counters *page, unsigned ports);
void port_counters_end(struct port_counters_writer *w); /* also if not begun */

/* Owner: `v` (PORT_COUNTERS numbers for each port) has happened here. */
void port_counters_publish(struct port_counters_writer *w, const uint64_t *v);

/* Everybody: the same, of all processes of the slot. */
void port_counters_read(struct port_counters *page, uint64_t *out,
                        unsigned ports);

#endif
