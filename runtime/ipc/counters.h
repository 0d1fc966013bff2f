/* counters.h - what a process counts, published for everybody to read.
 *
 * One page of shared memory per slot (ipc/page.h), which the process in the
 * slot hands over at its heartbeat.  Counters of a slot never
 * go backwards: the next process goes on where the last one has ended. */
#ifndef SD_IPC_COUNTERS_H
#define SD_IPC_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COUNTERS_REASONS = 16,  /* words of net/reason.h, at most */
    COUNTERS_DROPS = 8,     /* and of net/push.h */
    COUNTERS_OUTCOMES = 12, /* of cluster/outcome.h */
    COUNTERS_REFUSALS = 12  /* of cluster/refusal.h */
};

enum counter {
    COUNT_ACCEPTED, /* conns */
    COUNT_REFUSED,
    COUNT_PACKETS_IN,
    COUNT_PACKETS_OUT,
    COUNT_BYTES_IN,
    COUNT_BYTES_OUT,
    COUNT_REQUESTS,
    COUNT_TASK_CALLS,     /* taken by a task process */
    COUNT_STOPPED,        /* runs that the watchdog has stopped */
    COUNT_RELOADS,        /* the master's: those that were committed ... */
    COUNT_RELOADS_FAILED, /* ... and the others */

    /* Three hops.  In each, accepted is the sum of all the others.  In flight
     * are gauges, 0 for a new process; what the last one had so has crashed. */

    /* Sends, one for each conn a value was for, to its send queue. */
    COUNT_SENDS_ACCEPTED,
    COUNT_SENDS_DELIVERED,
    COUNT_SENDS_GONE,
    COUNT_SENDS_INVALID,
    COUNT_SENDS_SLOW,
    COUNT_SENDS_BUSY,
    COUNT_ENCODED, /* of no sum: values made bytes, once for each pack */

    /* Messages to other processes of the node, until they were read. */
    COUNT_MESSAGES_ACCEPTED,
    COUNT_MESSAGES_DELIVERED,
    COUNT_MESSAGES_CRASHED,
    COUNT_MESSAGES_IN_FLIGHT,

    COUNT_QUEUE_BYTES, /* a gauge: memory of all send queues */

    /* Messages to other nodes, until their outcome is known. */
    COUNT_FAR_ACCEPTED,
    COUNT_FAR_DELIVERED,
    COUNT_FAR_IN_FLIGHT,
    COUNT_FAR_CRASHED,
    COUNT_FAR_DROPPED, /* by reason: + enum outcome */
    /* Of no sum. */
    COUNT_FAR_BUSY = COUNT_FAR_DROPPED + COUNTERS_OUTCOMES, /* not accepted */
    COUNT_FAR_FRAMES,    /* data frames sent ... */
    COUNT_FAR_AGAIN,     /* ... of them not the first of their message */
    COUNT_FAR_TAKEN,     /* data frames of others ... */
    COUNT_FAR_DOUBLES,   /* ... of them seen before */
    COUNT_FAR_EXPIRED,   /* ... of them too late */
    COUNT_FAR_KEPT,      /* a gauge: messages that no relay has answered */
    COUNT_FAR_BYTES,     /* a gauge: theirs */
    COUNT_LINK_BYTES_IN, /* of links, as they are on the wire */
    COUNT_LINK_BYTES_OUT,
    COUNT_LINKS_OPENED,
    COUNT_LINKS_CLOSED,
    COUNT_LINKS_REFUSED, /* a relay's, by reason: + enum refusal */
    COUNT_FAR_LAST = COUNT_LINKS_REFUSED + COUNTERS_REFUSALS - 1,

    /* Pushes in send queues, until they were handed to the socket. */
    COUNT_PUSHES_ACCEPTED,
    COUNT_PUSHES_DELIVERED,
    COUNT_PUSHES_IN_FLIGHT,
    COUNT_PUSHES_CRASHED,
    COUNT_PUSHES_DROPPED, /* by reason: + enum push_drop */
    COUNT_CLOSED =
        COUNT_PUSHES_DROPPED +
        COUNTERS_DROPS, /* conns, by reason: COUNT_CLOSED + enum reason */
    COUNTERS = COUNT_CLOSED + COUNTERS_REASONS
};

struct counters; /* the page of one slot, zeroed at first */

/* The owner's end. */
struct counters_writer {
    struct counters *page;
    uint64_t base[COUNTERS]; /* of those who had the slot before */
};

/* Bytes of one page; pages lie one behind the other, 64-byte aligned. */
size_t counters_size(void);

/* Owner, once: take over.  What the last process had in flight has crashed. */
void counters_begin(struct counters_writer *w, struct counters *page);

/* Owner: `v` (COUNTERS numbers) has happened in this process. */
void counters_publish(struct counters_writer *w, const uint64_t *v);

/* Everybody: what the slot has published last, COUNTERS numbers. */
void counters_read(struct counters *page, uint64_t *out);

/* Is it a number of now, not one that only grows? */
bool counter_is_gauge(enum counter c);

#endif
