/* teller_state.h - what the files of the teller share. */
#ifndef SD_CLUSTER_TELLER_STATE_H
#define SD_CLUSTER_TELLER_STATE_H

#include "base/list.h"
#include "cluster/frames.h"
#include "cluster/teller.h"

enum {
    TELLER_MAGIC = 0x74656c6c,
    TELLER_SHARE = 8 /* of the filters a relay keeps, one part may linger */
};

enum hearer_state {
    HEARER_BEHIND,  /* was told to forget all; waits for room */
    HEARER_LEARNS,  /* is told all, up to `cursor` */
    HEARER_KNOWS,   /* was told all */
    HEARER_IS_FULL, /* we are over the limit: it sends everything */
};

/* A relay. */
struct hearer {
    struct list node;
    void *relay;
    enum hearer_state state;
    enum frames_kind kind; /* what it is told the filters of */
    uint64_t cursor;
    size_t ours; /* bytes in its link, at most */
};

struct teller {
    unsigned magic;
    bool is_over;
    struct teller_calls calls;
    struct teller_limits max;
    struct topics *topics, *groups;
    struct list hearers;
    struct list young, old; /* of struct leaving */
    uint64_t old_at;        /* when the old ones are taken back */
    struct teller_figures figures;
};

static inline struct topics *teller_topics(const struct teller *t,
                                           enum frames_kind kind)
{
    return kind == FRAMES_TOPIC ? t->topics : t->groups;
}

/* teller.c: to all relays that know us or are about to. */
void teller_tell(struct teller *t, const struct frames_interest *change);

/* teller_leaving.c: a filter has lost its last holder; those that have
 * lingered for long enough are taken back, and then their heirs begin to;
 * forget all. */
void leaving_add(struct teller *t, enum frames_kind kind, struct slice filter);
void leaving_end_some(struct teller *t, uint64_t now);
void leaving_drop(struct teller *t);

#endif
