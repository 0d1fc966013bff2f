/* hub_cache.h - the places of uids, as far as a relay knows them.  Pure.
 *
 * Two sources: senders, who looked into Redis and tell all places of a uid,
 * and workers, who tell one at a time, sooner.  Bind numbers decide between
 * them.  An entry is used only when it is known to be all of the places. */
#ifndef SD_CLUSTER_HUB_CACHE_H
#define SD_CLUSTER_HUB_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "cluster/frames.h"

struct hub_cache;

struct hub_spot {
    struct frames_spot at;
    uint32_t link, generation; /* where the hub found it last */
};

/* A uid.  Its spots may be read, and their link and generation written. */
struct hub_uid {
    struct table_node node; /* its number: bytes of the name */
    uint64_t hash;
    uint64_t floor;        /* no place with a lower number counts */
    struct hub_spot *spot; /* owned, or `one` */
    uint32_t opening;      /* of the hub, when all places were told */
    uint8_t count;         /* of spots */
    bool is_complete;      /* these are all */
    bool is_sole;          /* the uid has one place at a time */
    bool is_used;          /* since it was last thought of evicting it */
    struct hub_spot one;
    struct list queue; /* who is next to be evicted */
    char name[];
};

struct hub_cache *hub_cache_new(uint32_t most);
void hub_cache_free(struct hub_cache **cp);

/* The entry of a uid; NULL: unknown.  Valid until a call that
 * learns. */
struct hub_uid *hub_cache_find(struct hub_cache *c, uint64_t hash,
                               struct slice uid);

/* More than what the CPU has in its cache? */
bool hub_cache_is_large(const struct hub_cache *c);

/* Uids of these hashes will be looked for: see table_expect(). */
void hub_cache_expect(const struct hub_cache *c, const uint64_t *hash,
                      unsigned n);

/* A sender tells all places, encoded, at least one. */
struct hub_uid *hub_cache_learn(struct hub_cache *c, uint64_t hash,
                                struct slice uid, struct slice spots,
                                bool is_sole, uint32_t opening);

/* A worker tells of itself. */
void hub_cache_locate(struct hub_cache *c, uint64_t hash,
                      const struct frames_locate *l, const struct place *place,
                      uint32_t opening);

/* Nobody of that uid is at that place. */
void hub_cache_drop(struct hub_cache *c, uint64_t hash,
                    const struct place *place);

uint32_t hub_cache_count(const struct hub_cache *c);
uint64_t hub_cache_evicted(const struct hub_cache *c);

#endif
