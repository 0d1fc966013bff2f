/* outbox_state.h - what the files of the outbox share. */
#ifndef SD_CLUSTER_OUTBOX_STATE_H
#define SD_CLUSTER_OUTBOX_STATE_H

#include "base/list.h"
#include "base/table.h"
#include "cluster/outbox.h"
#include "cluster/unanswered.h"
#include "loop/wheel.h"

#define OUTBOX_MAGIC 0x0b0c5e4du

enum {
    POOL_CLASSES = 4,
    LANE_KEY = FRAMES_UID_LENGTH, /* room for a key in a kept block */
    LANES_KEPT = 1024,            /* free blocks */
    ASK_AGAIN = 5000,             /* ms until a uid is asked for again */
    WAIT_FIRST = 5,               /* ms until the first further try; doubles */
    WAIT_MOST = 250,
    ROUNDS_AT_ONCE = 16, /* of a lane, without anything delivered */
    REGAIN_MS = 20,      /* until publishes go again to places that came back */
    SPOTS = 64 * 1024,
    MISSING_MS = 5000, /* a place without any link may come back */
    STILL_MS = 500,    /* so late a tick: the process stood still */
    LOOKS = 8          /* waits until members are believed: a second */
};

/* A message, in one block with its bytes. */
struct letter {
    struct list of_lane; /* in order of counters */
    struct list of_all;
    struct timer life;
    struct lane *lane;   /* NULL: settled, only its answers are missing */
    struct letter *next; /* free block */
    uint64_t counter, token;
    uint32_t len;
    uint32_t found;     /* of the outbox, when it was sent */
    uint16_t waiting;   /* transmissions without answer */
    uint8_t size_class; /* of the block */
    uint8_t worst;      /* enum frames_reason of its answers; 0: taken */
    uint8_t tries;
    bool took;     /* somebody took it */
    bool maybe;    /* somebody may have taken it */
    bool is_sent;  /* at least once */
    bool is_late;  /* too late for a receiver */
    bool is_known; /* some receiver may know its id */
    bool lacks;    /* a publish, when places had no link */
    bool is_held;  /* ... and it waits for them */
    bool is_newest;
    bool is_beside;
    char bytes[]; /* wire head and body */
};

enum lane_state {
    LANE_FLOWING,   /* letters go out as they come */
    LANE_DRAINING,  /* some go again when all answers are here */
    LANE_RESOLVING, /* the places of the uid were asked for */
    LANE_WAITING    /* for a way, or to ask again */
};

/* The letters to one name. */
struct lane {
    struct table_node node; /* its number: bytes of the key */
    struct list queue;      /* its relay's, for window; or all that wait */
    struct list holding;    /* of those that hold publishes */
    struct timer wait;
    struct lane *next; /* free block */
    struct list letters;
    struct list *unsent; /* the first that has to go; &letters: none */
    uint64_t hash;
    uint64_t last;      /* counter of the one that went last; 0: none yet */
    uint64_t relays;    /* mask of the links it uses */
    uint32_t cover;     /* of the outbox, when they were picked */
    uint32_t count;     /* letters */
    uint32_t in_flight; /* of them waiting for answers */
    uint32_t held;      /* of them waiting for places */
    uint32_t beside;    /* of them not for our own node */
    uint8_t state;      /* enum lane_state */
    uint8_t type;       /* enum frames_type */
    uint8_t attempt;    /* waits since something was delivered */
    uint8_t rounds;     /* and rounds that did not wait */
    bool asks;          /* it drains because a place was wrong or lost */
    bool is_flooding;
    bool is_sole;
    struct slice spots; /* owned; for the first letter of the round */
    char key[];         /* kind of a publish, and name */
};

struct outbox_link {
    void *relay;
    uint64_t id;
    struct unanswered sent;
    struct list stalled; /* lanes without window */
    uint32_t bytes;
    uint32_t covered; /* spots of other nodes that it covers */
    uint32_t losses;
    uint8_t index;
    bool is_ready; /* it has told its places */
};

/* A place that some relay covers, or did until lately. */
struct spot {
    struct table_node node;
    struct list missing; /* linked to itself while covered */
    struct place place;
    uint64_t relays; /* mask */
    uint64_t lost_at;
};

struct outbox {
    unsigned magic;
    struct outbox_calls calls;
    struct outbox_limits max;
    struct outbox_figures figures;
    struct hash_key key;
    uint64_t boot, now, counter;
    uint32_t term;
    bool term_is_used; /* something was sent in it */
    uint32_t remote;   /* covered spots of other nodes */
    uint32_t held;
    uint32_t cover; /* changes of who covers what */
    uint32_t found; /* missing places that came back, ever */
    uint64_t ready; /* mask */
    struct outbox_link *link[OUTBOX_LINKS];
    struct list all;     /* letters that are not settled, oldest first */
    struct list missing; /* spots, by lost_at */
    struct list waiting, holding; /* lanes */
    struct table lanes, spots;
    struct wheel lives, waits;
    struct timer regain; /* until held publishes go again */
    struct letter *pool[POOL_CLASSES];
    uint32_t pooled[POOL_CLASSES];
    struct lane *free_lane;
    uint32_t free_lanes;
};

static inline struct letter *letter_of(struct list *l)
{
    return list_entry(l, struct letter, of_lane);
}

/* outbox.c */
void outbox_settle(struct outbox *o, struct letter *m, int outcome);
void outbox_new_term(struct outbox *o);

/* outbox_pool.c */
struct letter *pool_letter(struct outbox *o, uint32_t len);
void pool_put(struct outbox *o, struct letter *m);
void pool_free(struct outbox *o);

/* outbox_lane.c */
struct lane *lane_find(const struct outbox *o, const struct outbox_to *to,
                       uint64_t hash);
struct lane *lane_make(struct outbox *o, const struct outbox_to *to,
                       uint64_t hash);
void lane_add(struct lane *s, struct letter *m);
void lane_remove(struct lane *s, struct letter *m);
void lane_drop_spots(struct lane *s);
bool lane_free_if_empty(struct outbox *o, struct lane *s);
bool link_has_window(const struct outbox *o, const struct outbox_link *l,
                     uint32_t len);
bool lane_has_window(const struct outbox *o, const struct lane *s,
                     uint32_t len);

/* outbox_lane.c and outbox_round.c; all may settle letters and free the lane:
 * send what can go, start a round, take the last answer to a letter, go on
 * after letters were settled, after a wait, end everything in it. */
void lane_pump(struct outbox *o, struct lane *s);
void lane_begin(struct outbox *o, struct lane *s);
void lane_answered(struct outbox *o, struct letter *m);
void lane_went_on(struct outbox *o, struct lane *s);
void lane_on_wait(struct outbox *o, struct lane *s);
void lane_settle_all(struct outbox *o, struct lane *s, int outcome);

/* outbox_round.c */
void lane_pick(struct outbox *o, struct lane *s);
void lane_wait(struct outbox *o, struct lane *s);

/* outbox_cover.c */
struct spot *cover_find(const struct outbox *o, const struct place *p);
struct outbox_link *cover_best(const struct outbox *o, uint64_t hash,
                               uint64_t mask);
uint64_t cover_pick(struct outbox *o, const struct lane *s);
int cover_take(struct outbox *o, struct outbox_link *l, struct slice payload);
void cover_close(struct outbox *o, struct outbox_link *l);
void cover_free_spot(struct outbox *o, struct spot *p);
void cover_free(struct outbox *o);

/* The first of the spots of a slot, among others; table_next() goes on. */
struct table_node *cover_first(const struct outbox *o, const struct place *p);

/* outbox_missing.c: a spot has lost its last relay; one is covered again, or
 * for the first time; a place has come, and ends those before it; the first
 * link is up; what is held goes again. */
void missing_add(struct outbox *o, struct spot *p);
void missing_found(struct outbox *o);
void missing_succeeded(struct outbox *o, const struct place *place);
void missing_linked(struct outbox *o);
void missing_regain(struct outbox *o);
void missing_tick(struct outbox *o);
uint64_t missing_next(const struct outbox *o);

/* Has the process ended to which the letters of this lane go? */
bool missing_has_ended(const struct outbox *o, const struct lane *s);

static inline bool cover_lacks(const struct outbox *o)
{
    return !list_empty(&o->missing);
}

#endif
