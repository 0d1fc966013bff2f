/* inbox_seen.h - the ids of messages that were handed over, and what became
 * of them.  Pure.
 *
 * An id is kept until its sender has settled everything up to it, which later
 * messages tell, and 30 s at most.  When there are too many, the oldest goes,
 * and its source notes up to where it cannot tell any more. */
#ifndef SD_CLUSTER_INBOX_SEEN_H
#define SD_CLUSTER_INBOX_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "cluster/place.h"

struct seens;

/* A process that sends to us. */
struct source {
    struct table_node node; /* its number: ids that are kept of it */
    struct list used;       /* the least lately first */
    struct place place;
    uint64_t number; /* not used again */
    uint64_t used_at;
    uint64_t base;  /* everything before it is settled */
    uint64_t floor; /* up to here ids were forgotten too early */
    uint64_t last;  /* scratch of seens_each_source() */
    uint32_t term;
};

/* Somebody who waits for the outcome. */
struct seen_waiter {
    struct seen_waiter *next;
    uint64_t number; /* of the frame */
    uint32_t link, generation;
};

struct seen {
    struct table_node node;
    struct list age; /* oldest first; pending ones on a list of their own */
    struct source *source;
    uint64_t counter;
    uint64_t at;
    struct seen_waiter *waiters;
    uint32_t uid;    /* hash; 0: not to a uid */
    int16_t outcome; /* an error code, or INBOX_LATER */
};

struct seens *seens_new(uint32_t most, uint32_t most_sources);
void seens_free(struct seens **sp);

/* NULL: too many others are in use. */
struct source *seens_source(struct seens *s, const struct place *place,
                            uint64_t now);

struct seen *seens_find(const struct seens *s, const struct source *from,
                        uint64_t counter);

/* Everything that is kept is pending: nothing can make room. */
bool seens_is_full(const struct seens *s);

/* Pending, until seens_settle(). */
struct seen *seens_add(struct seens *s, struct source *from, uint64_t counter,
                       uint64_t now);
void seens_settle(struct seens *s, struct seen *e, int outcome);
void seens_remove(struct seens *s, struct seen *e);

void seens_wait(struct seen *e, uint64_t number, uint32_t link,
                uint32_t generation);

/* Show all sources, and the last id of each that went to that uid, or is
 * forgotten and may have. */
void seens_each_source(struct seens *s, uint32_t uid,
                       void (*fn)(void *arg, const struct source *from,
                                  uint64_t last),
                       void *arg);

void seens_tick(struct seens *s, uint64_t now);

uint32_t seens_count(const struct seens *s);
uint32_t seens_sources(const struct seens *s);
uint32_t seens_pending(const struct seens *s);
uint64_t seens_evicted(const struct seens *s);

#endif
