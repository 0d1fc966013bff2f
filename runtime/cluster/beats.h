/* beats.h - what the two ends of a link say to show that they live: when the
 * beat was made, which beat of the other side was heard last and how long ago.
 * So each side knows the time there and back, without an answer that would
 * have to be sent at once.  Pure. */
#ifndef SD_CLUSTER_BEATS_H
#define SD_CLUSTER_BEATS_H

#include <stdint.h>

#include "base/slice.h"

enum {
    BEATS_SIZE = 12,             /* bytes of a beat */
    BEATS_WAY_MAX = 60 * 1000000 /* us; a longer one is of long ago */
};

/* Those of one link; zeroed at first. */
struct beats {
    uint32_t made;       /* of the peer's last beat, by its clock; 0: none */
    uint32_t came;       /* and when it came, by ours */
    uint32_t round_trip; /* us; 0: not known */
};

/* The beat of now, `us` of any clock that only goes on. */
void beats_write(const struct beats *b, char out[BEATS_SIZE], uint64_t us);

/* One has come.  0; SD_EPROTO: it is none. */
int beats_take(struct beats *b, struct slice payload, uint64_t us);

#endif
