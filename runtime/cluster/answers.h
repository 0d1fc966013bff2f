/* answers.h - answers to the data frames of a link, gathered until the end of
 * the turn and then sent as few frames.  Pure. */
#ifndef SD_CLUSTER_ANSWERS_H
#define SD_CLUSTER_ANSWERS_H

#include "base/buf.h"
#include "cluster/frames.h"

/* Opened by zeroing. */
struct answers {
    struct frames_range last; /* not written yet; count 0: none */
    struct buf acks, nacks;
};

void answers_fini(struct answers *a);

void answers_ack(struct answers *a, uint64_t number);
void answers_nack(struct answers *a, const struct frames_nack *n);

/* Give the gathered frames to `emit`, whose payloads it borrows, and forget
 * them. */
void answers_flush(struct answers *a,
                   void (*emit)(void *arg, unsigned type, struct slice p),
                   void *arg);

#endif
