/* strangers.h - who has connected and not proved yet that he belongs here:
 * how many may be so at a time, and who has to go for one more.
 *
 * A member says at once that he has the cluster's key (the question of
 * cluster/hand.h).  Until then he is *silent*; from then until his proof he
 * has *asked*, which somebody with a recording can do, too, at some effort.
 * The two are counted apart, so those who say nothing never push out somebody
 * who has asked.  For one more, the oldest of the same origin goes when that
 * has its share already, else the oldest of all: so one address that connects
 * without end pushes out itself.
 *
 * Pure; the list is embedded by its owner. */
#ifndef SD_CLUSTER_STRANGERS_H
#define SD_CLUSTER_STRANGERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

enum {
    STRANGERS_MAX = 256,  /* of either kind */
    STRANGERS_SHARE = 64, /* of one origin, when that many are there */
};

struct crowd {
    struct list list; /* oldest first */
    unsigned count;
};

struct strangers {
    struct crowd silent, asked;
};

/* Zeroed: none. */
struct stranger {
    struct list node;
    struct crowd *crowd; /* NULL: he is no stranger, or none any more */
    uint64_t origin;     /* whatever stands for his address */
};

void strangers_init(struct strangers *s);

/* One more; who has to go, or NULL.  That one is a stranger no longer. */
struct stranger *strangers_add(struct strangers *s, struct stranger *one,
                               uint64_t origin);

/* He has asked: as strangers_add(). */
struct stranger *strangers_believe(struct strangers *s, struct stranger *one);

/* Who would go first; NULL when there is nobody. */
struct stranger *strangers_oldest(const struct strangers *s);

/* He has proved who he is, or has gone.  Idempotent. */
void strangers_del(struct stranger *one);

#endif
