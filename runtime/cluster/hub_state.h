/* hub_state.h - what the files of the hub share. */
#ifndef SD_CLUSTER_HUB_STATE_H
#define SD_CLUSTER_HUB_STATE_H

#include "base/list.h"
#include "base/table.h"
#include "cluster/answers.h"
#include "cluster/hub.h"
#include "cluster/hub_cache.h"
#include "cluster/hub_interest.h"
#include "cluster/unanswered.h"

#define HUB_MAGIC 0x0b5e1a7du

struct hub_link {
    struct table_node node; /* by place, while it is current */
    struct list dirty;      /* has answers to send */
    struct list flooded;    /* has not told its interest */
    struct interest interest;
    void *owner;
    struct place place;
    uint32_t index;
    uint32_t generation;    /* of the index */
    uint32_t bytes;         /* without answer */
    bool is_current;        /* the newest of its place */
    uint64_t taken;         /* number of its last data frame */
    struct unanswered sent; /* transits */
    struct answers answers;
};

/* A message whose receivers have not all answered. */
struct transit {
    struct transit *next; /* free block */
    uint64_t number;      /* of the sender's link */
    uint64_t uid;         /* hash; 0: not to a uid */
    uint32_t from, generation;
    uint32_t len;
    uint32_t waiting;
    uint8_t worst;              /* enum frames_reason */
    bool took, maybe, is_known; /* see enum frames_nack_flag */
    bool is_late;               /* too late for a receiver */
};

struct hub {
    unsigned magic;
    struct hub_calls calls;
    struct hub_limits max;
    struct hub_figures figures;
    struct hash_key key;
    struct hub_cache *cache;
    struct interests *interests;
    struct table places; /* links */
    struct hub_link **link;
    uint32_t links, room; /* indexes in use and allocated */
    uint32_t openings;    /* links ever: generations */
    uint32_t losses;      /* places ever lost, from 1 */
    struct list dirty, flooded;
    struct hub_link **target; /* scratch, `room` long */
    uint32_t targets;
    struct transit *free_transit;
    uint32_t free_transits;
};

/* hub.c */
struct hub_link *hub_find(const struct hub *h, const struct place *place);

/* hub_route.c */
int hub_route(struct hub *h, struct hub_link *l, unsigned type,
              struct slice payload, uint32_t waited);

/* hub_answer.c */
void hub_answer(struct hub *h, struct transit *t);
/* 0 is "delivered". */
void hub_reply(struct hub *h, struct hub_link *l, uint64_t number,
               enum frames_reason reason);
int hub_take_acks(struct hub *h, struct hub_link *l, struct slice p);
int hub_take_nacks(struct hub *h, struct hub_link *l, struct slice p);
void hub_lose_all(struct hub *h, struct hub_link *l);

#endif
