/* members.h - the table of who is in the cluster.  Pure.
 *
 * It knows no rules: who may become what is said by gossip_merge.c.  Here are
 * the containers: by boot, by name, who is asked next, the dead, and a digest
 * of the living that two tables can compare. */
#ifndef SD_CLUSTER_MEMBERS_H
#define SD_CLUSTER_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/table.h"
#include "cluster/dice.h"
#include "cluster/gossip_msg.h"
#include "loop/wheel.h"

struct member {
    struct gossip_member pub; /* first */
    struct table_node by_boot, by_name;
    struct timer timer; /* a suspicion's end, then the tombstone's */
    void *owner;        /* the struct gossip, for the timer */
    struct list news;   /* news.h */
    uint64_t edition;   /* incarnation of the newest content heard of */
    uint64_t known;     /* incarnation of the content we have */
    uint64_t since;     /* when its state began */
    uint64_t vouched;   /* until then a data link's frame proves it alive */
    uint32_t linked;    /* the last round in which it had such a link */
    uint32_t accusers[GOSSIP_ACCUSERS];
    uint8_t naccusers;
    uint8_t sent, sent_full; /* news.h */
    bool is_met;             /* it has our name, and we heard it */
    uint32_t share;          /* what it adds to its digest; 0: nothing */
    uint32_t at;             /* its index among the living or the dead */
    char text[GOSSIP_NAME];
};

struct members {
    struct hash_key key;
    struct dice dice;
    struct table by_boot, by_name;
    struct member *self;
    struct member **living; /* without self, in the order of being asked */
    struct member **dead;
    uint32_t nliving, ndead, room, turn;
    uint32_t digest[GOSSIP_BUCKETS];
};

void members_init(struct members *ms, uint64_t seed);
void members_fini(struct members *ms);

/* All of them, self and tombstones included. */
static inline uint32_t members_count(const struct members *ms)
{
    return ms->by_boot.count;
}

struct member *members_find(const struct members *ms, uint64_t boot);

/* The next with this name, at first with `m` NULL; NULL ends. */
struct member *members_named(const struct members *ms, struct slice name,
                             const struct member *m);

/* Make a member of a full update.  It is neither among the living nor among
 * the dead until members_enliven(); self never is. */
struct member *members_add(struct members *ms, const struct gossip_update *u);

/* Its content changed. */
void members_set(struct member *m, const struct gossip_update *u);

/* Between the living and the dead; harmless when it is there. */
void members_enliven(struct members *ms, struct member *m);
void members_bury(struct members *ms, struct member *m);

/* Forget one of the dead, and free it; its timer and news must be off. */
void members_drop(struct members *ms, struct member *m);

/* Its incarnation, state or content changed: keep the digest right. */
void members_digest(struct members *ms, struct member *m);
unsigned members_bucket(uint64_t boot);

/* Whom to ask next, NULL if nobody lives: each once a round, in an order that
 * is new each round; who joins or returns is asked in this round. */
struct member *members_next(struct members *ms);

/* Ask this one next. */
void members_soon(struct members *ms, struct member *m);

/* Any of the living or of the dead, or NULL. */
struct member *members_any(struct members *ms);
struct member *members_any_dead(struct members *ms);

#endif
