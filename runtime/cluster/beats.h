/* beats.h - how two ends of a link, whose clocks have nothing in common, speak
 * of time.  Pure.
 *
 * A beat shows that its maker lives: when it was made, which beat of the other
 * side was heard last and how long ago.  So each side knows the time there and
 * back, without an answer that would have to be sent at once.
 *
 * A stamp says when what comes behind it was written.  So its reader knows how
 * long that has waited in outputs and sockets. */
#ifndef SD_CLUSTER_BEATS_H
#define SD_CLUSTER_BEATS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    BEATS_SIZE = 12,             /* bytes of a beat */
    BEATS_STAMP_SIZE = 4,        /* bytes of a stamp */
    BEATS_WAY_MAX = 60 * 1000000 /* us; a longer one is of long ago */
};

/* Those of one link; zeroed at first. */
struct beats {
    uint32_t made;       /* of the peer's last beat, by its clock; 0: none */
    uint32_t came;       /* and when it came, by ours */
    uint32_t round_trip; /* us; 0: not known */
    uint32_t stamp;      /* of what comes now, by the peer's clock; 0: none */
    uint32_t shift;      /* from its clock to ours, and the quickest way */
    bool has_shift;
};

/* The beat of now, `us` of any clock that only goes on. */
void beats_write(const struct beats *b, char out[BEATS_SIZE], uint64_t us);

/* One has come.  0; SD_EPROTO: it is none. */
int beats_take(struct beats *b, struct slice payload, uint64_t us);

/* A stamp of `us`, of the clock that beats are made by. */
void beats_write_stamp(char out[BEATS_STAMP_SIZE], uint64_t us);

/* One has come.  0; SD_EPROTO: it is none. */
int beats_take_stamp(struct beats *b, struct slice payload, uint64_t us);

/* How long what was written behind the last stamp, and is read now, was on its
 * way: us more than the quickest one.  0 without a stamp. */
uint32_t beats_waited(const struct beats *b, uint64_t us);

#endif
