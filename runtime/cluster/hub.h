/* hub.h - a relay: what comes over one link goes out over others, and their
 * answers go back.  Pure.
 *
 * It keeps no message.  What it could not hand on, or what was under way to a
 * process whose link has ended, it says to the sender, who keeps it.  All it
 * knows is soft: the places of uids are a cache, the filters of a link end
 * with it. */
#ifndef SD_CLUSTER_HUB_H
#define SD_CLUSTER_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/slice.h"
#include "cluster/frames.h"
#include "cluster/stream.h"

enum {
    HUB_EXPECT = 16
};

struct hub;
struct hub_link;

struct hub_calls {
    void *arg;
    /* A frame for a link; borrows.  Does not call the hub. */
    void (*emit)(void *arg, void *owner, unsigned type, const struct slice *v,
                 unsigned n);
};

/* Zero in any of them: a default. */
struct hub_limits {
    uint32_t window_count; /* messages at one process without answer */
    uint32_t window_bytes;
    uint32_t uids;    /* whose places are kept */
    uint32_t filters; /* of one link; with more it gets everything */
};

struct hub_figures {
    uint64_t taken; /* data frames; each is answered, or its link ends */
    uint64_t acked, nacked;
    uint64_t sent;                               /* data frames to receivers */
    uint64_t busy, unknown, no_way, moved, lost; /* of the nacked */
    uint64_t expired; /* ... before anybody got them */
    uint64_t evicted; /* uids for lack of room */
    uint32_t links, uids;
    uint32_t transits; /* taken, not answered */
};

struct hub *hub_new(const struct hub_calls *calls,
                    const struct hub_limits *limits,
                    const struct hash_key *key);
void hub_free(struct hub **hp);

/* The process at `place` has proved that it may, and is linked.  A link that
 * it had before gets nothing new, and is to be closed. */
struct hub_link *hub_open(struct hub *h, void *owner,
                          const struct place *place);
void hub_close(struct hub *h, struct hub_link *l);

/* A frame has come; data that has waited for so many ms on its link.  0;
 * SD_EPROTO: close the link. */
int hub_take(struct hub *h, struct hub_link *l, unsigned type,
             struct slice payload, uint32_t waited);

/* These will be taken next, at most HUB_EXPECT of them: asks for the memory
 * that it takes to find their uids, and changes nothing. */
void hub_expect(struct hub *h, const struct stream_frame *f, unsigned n);

/* What a link has told us that it wants. */
struct hub_wants {
    uint32_t filters;
    bool is_flooded; /* it gets all publishes */
};

struct hub_wants hub_wants(const struct hub_link *l);

/* End of a turn: send the answers that were gathered. */
void hub_turn(struct hub *h);

const struct hub_figures *hub_figures(const struct hub *h);

#endif
