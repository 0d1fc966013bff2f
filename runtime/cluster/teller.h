/* teller.h - tells relays which topics and groups this process wants: the
 * other end of cluster/hub_interest.h.  Pure.
 *
 * A new relay is told all filters in slices, then that these were all; what
 * changes meanwhile it is told at once.  Until it has been told all, and from
 * when on it is told no more, a relay sends everything: so what is said too
 * late costs messages that nobody wants, never one that somebody wants. */
#ifndef SD_CLUSTER_TELLER_H
#define SD_CLUSTER_TELLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/topics.h"

struct teller;

/* None of them calls the teller. */
struct teller_calls {
    void *arg;
    /* A frame of type INTEREST for a relay; borrows. */
    void (*emit)(void *arg, void *relay, struct slice payload);
    /* Bytes that are waiting to be sent to it. */
    size_t (*unsent)(void *arg, void *relay);
    /* There are more filters than a relay keeps: we get everything from now
     * on; or we do no more. */
    void (*on_over)(void *arg, bool is_over);
};

/* Zero in any of them: a default. */
struct teller_limits {
    uint32_t filters;   /* that a relay keeps for us: FRAMES_FILTERS */
    uint32_t slice;     /* filters told or looked for in one turn */
    uint32_t room;      /* bytes of ours in a link before a slice waits */
    uint32_t behind;    /* ... before changes are not told any more */
    uint32_t linger_ms; /* that a filter is kept which nobody holds */
};

struct teller_figures {
    uint64_t told;    /* filters, each time to each relay */
    uint64_t resets;  /* relays that were too far behind, or at the limit */
    uint32_t relays;  /* linked */
    uint32_t known;   /* of these, those that were told all */
    uint32_t leaving; /* filters that nobody holds, not taken back yet */
};

/* Watches both; they outlive it.  Groups stand there as topics. */
struct teller *teller_new(const struct teller_calls *calls,
                          const struct teller_limits *limits,
                          struct topics *topics, struct topics *groups);
void teller_free(struct teller **tp);

/* A link to a relay that knows nothing of us yet is up, or is down. */
void teller_open(struct teller *t, void *relay);
void teller_close(struct teller *t, void *relay);

/* Has it been told all? */
bool teller_knows(const struct teller *t, const void *relay);

/* Tell some more.  In how many ms to call again, at the latest; 0: when there
 * was a change. */
uint32_t teller_turn(struct teller *t, uint64_t now);

const struct teller_figures *teller_figures(const struct teller *t);

#endif
