/* people.h - who the conns of this worker are and what they listen to.
 *
 * A conn that is bound, subscribed or closing has a member, kept as its
 * conn_user(); most conns of a port without logins have none.  Knows no Lua.
 *
 * With `map` set each binding is also written where all processes of the node
 * read it, and policies hold among all workers. */
#ifndef SD_VM_PEOPLE_H
#define SD_VM_PEOPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/slice.h"
#include "net/topics.h"
#include "net/uids.h"

struct conn;
struct uidmap;
struct uidmap_binding;
struct move;
struct move_wait;

struct member {
    struct list link; /* of all members */
    struct conn *conn;
    uint64_t id;     /* of the conn */
    bool is_leaving; /* we close it: no more binds */
    struct uids_binding binding;
    uint64_t number;         /* of the binding, among those of the node */
    enum uids_policy policy; /* it was bound with */
    bool has_ended;          /* in the map, before its end here, with ... */
    bool was_last;           /* ... this answer and ... */
    uint32_t debt;           /* ... this debt */
    bool is_elsewhere;       /* the uid is on another node, too */
    struct topics_holder topics, groups;
    uint64_t group_number; /* of the last change of its groups it knows */
    uint64_t group_told;   /* when it was told one, by people.group_clock */
    bool knows_groups;     /* those of its uid were read */
    uint64_t passed_over;  /* the fan-out that leaves it out */
    struct list asks;      /* questions to it that are open, bind_ask.c */
    uint32_t last_ask;     /* the id of the last one */
    char *reason;          /* why the conn has closed; NULL: it has not */

    /* The conn has come from another worker: publishes that it heard there.
     * NULL: there are none that could come again. */
    uint64_t *heard; /* vm/heard.h */
    /* ... and what is sent to it, until all from there has come. */
    struct move_wait *wait; /* vm/move.h */
    /* The conn has gone to another worker: `conn` is NULL.  What it would
     * have heard is caught here until that worker hears for it. */
    struct move *move; /* vm/move.h */
    struct buf parted_uid;
};

/* A binding that has ended and that nobody was told of yet. */
struct people_end {
    struct list link;
    uint64_t conn;
    bool last;           /* no conn of the uid is left on the node, nor has one
                          * of another node made it end */
    struct slice uid;    /* both behind the struct */
    struct slice reason; /* of the close, or "replaced", "unbound" */
};

/* A change of the groups of somebody who is here. */
struct people_change {
    uint64_t what; /* hash of the uid and the group */
    uint64_t number;
    uint64_t at; /* clock_ms() */
};

enum {
    PEOPLE_CHANGES = 256 /* of them are remembered */
};

/* Where sent values went. */
struct people_counters {
    uint64_t accepted; /* the sum of the others */
    uint64_t delivered;
    uint64_t invalid; /* the conn's pack could not carry it */
    uint64_t slow, gone;
    uint64_t busy; /* another worker's queue was full */

    uint64_t encoded; /* values, for one pack each; of no sum */
};

struct people {
    unsigned magic;
    struct uids *uids;
    struct uidmap *map; /* of the node; NULL: this worker is alone */
    unsigned slot;      /* ours in it */
    struct topics *topics;
    struct topics *groups; /* who of here is in which; names as topics */
    struct list members;
    struct list ends;
    struct list kicked; /* unbound, to be closed; by binding.link */
    struct list parted; /* whose conn has moved; by binding.link */
    /* One more in `ends`; uidmap_settle() when it was told.  False: nobody can
     * be told.  NULL: keep none. */
    bool (*on_end)(void *arg, uint32_t debt);
    /* A conn of another worker has to go: its uid was bound anew here. */
    void (*on_rival)(void *arg, const struct uidmap_binding *b);
    /* The groups of a member have to be read again: it was told a change out
     * of order, or not told one. */
    void (*on_doubt)(void *arg, const struct member *m);
    /* A conn of ours has a uid no more.  May be NULL. */
    void (*on_left)(void *arg, struct slice uid, uint64_t conn,
                    uint64_t number);
    void *arg;
    uint64_t fanouts;
    uint64_t group_clock; /* raised with every change of a group */
    struct people_change changes[PEOPLE_CHANGES]; /* a ring */
    uint64_t nchanges;                            /* written to it so far */
    struct hash_key hash_key;
    struct people_counters counters;
};

/* Count a send that reached no conn, for a reason like SD_EGONE. */
void people_count_lost(struct people *p, int err);

struct people *people_new(void);
void people_free(struct people **pp);

/* The member of a conn, NULL: it has none; the same, made. */
struct member *people_find(const struct conn *c);
struct member *people_add(struct people *p, struct conn *c);

/* Bind an open conn, instead of what it was bound to.  0 or SD_EREFUSED, or
 * SD_EBUSY: more conns than the node may have.  Who loses the uid is unbound,
 * and `kicked`; that may be the conn itself, when two workers bind the uid at
 * the same time and the other one's number is higher. */
int people_bind(struct people *p, struct member *m, struct slice uid,
                enum uids_policy policy);
void people_unbind(struct people *p, struct member *m);

/* Unbind all conns of a uid, which are `kicked` then.  How many. */
unsigned people_kick(struct people *p, struct slice uid, const char *reason);

/* The first of `kicked`, no longer there; NULL: none. */
struct member *people_next_kicked(struct people *p);

/* The conn has closed: nothing finds it any more.  Idempotent. */
void people_leave(struct people *p, struct member *m, const char *reason);

/* Listen to a filter.  0 or SD_ETOOLARGE: it listens to enough. */
int people_subscribe(struct people *p, struct member *m, struct slice filter);

/* The same for all conns a uid has here: 0, SD_EGONE (none), SD_ETOOLARGE. */
int people_subscribe_uid(struct people *p, struct slice uid,
                         struct slice filter);
int people_unsubscribe_uid(struct people *p, struct slice uid,
                           struct slice filter); /* 0, SD_EGONE */

/* A binding of a dead worker has ended: who was told last is no more. */
void people_tell_end(struct people *p, struct slice uid, uint64_t conn,
                     bool last, const char *reason);

/* Leave and forget.  `c` may be NULL when the conn is no more. */
void people_remove(struct people *p, struct member *m, struct conn *c);

enum {
    PEOPLE_GROUP = 128, /* bytes of a group's name */
    PEOPLE_GROUP_TOPIC = 3 * PEOPLE_GROUP
};

/* The topic that stands for a group, written to `out`, of PEOPLE_GROUP_TOPIC
 * bytes; false: no valid name. */
bool people_group_topic(struct slice *topic, char *out, struct slice name);

/* The uid has entered the group or left it: what its conns here get.  The
 * number counts the changes of the uid's groups.  Names longer than
 * PEOPLE_GROUP are no groups. */
void people_change_group(struct people *p, struct slice uid, struct slice name,
                         bool enters, uint64_t number);

/* A member's groups were read, as they were after change `number`; `mark` is
 * people.group_clock before that.  True: it has none now, and is to get those
 * that were read by people_add_group().  False: read them again, it was told
 * newer ones meanwhile. */
bool people_take_groups(struct people *p, struct member *m, uint64_t mark,
                        uint64_t number);
void people_add_group(struct people *p, struct member *m, struct slice name);

/* The member has another uid now, or none: it is in no group. */
void people_drop_groups(struct people *p, struct member *m);

/* As topics_visit(); `fn` gets member.groups. */
void people_visit_group(struct people *p, struct slice name,
                        void (*fn)(void *arg, struct topics_holder *h),
                        void *arg);

/* A new fan-out begins: nobody is left out of it yet.  Then leave out all
 * conns of a uid. */
void people_begin_fanout(struct people *p);
void people_pass_over(struct people *p, struct slice uid);
bool people_is_passed_over(const struct people *p, const struct member *m);

/* --- conns that move (people_move.c) --- */

/* The conn is leaving for another worker: it is no user of its member any
 * more, and nobody finds it by its uid; its binding in the map stays.  What it
 * listens to is still visited, until people_remove(). */
void people_part(struct people *p, struct member *m, struct move *move);

/* The conn has come with a binding of this number: it is bound, and nobody is
 * asked.  0; SD_EBUSY: more conns than the node may have; SD_EINVALID: no such
 * number can be. */
int people_join(struct people *p, struct member *m, uint64_t number);

/* people_pass_over() for those who have parted. */
void people_pass_over_parted(struct people *p, struct slice uid);

/* The names of the groups a member is in. */
void people_each_group(struct people *p, const struct member *m,
                       void (*fn)(void *arg, struct slice name), void *arg);

/* The oldest of `ends` is the caller's now; NULL: none. */
struct people_end *people_take_end(struct people *p);
void people_drop_end(struct people_end *end);

#endif
