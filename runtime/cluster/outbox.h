/* outbox.h - what this process sends to other nodes, until each message has
 * its outcome.  Pure.
 *
 * A message is kept from outbox_send() until a receiver's answer has come
 * back through a relay, or its life is over, and `settled` is called exactly
 * once.  Messages to one name (a uid, a place, a topic) are a lane: they
 * take the same relay, one behind the other, and when one has to be sent
 * again, the later ones wait and go again behind it.
 *
 * Time is in milliseconds, never goes back, and is told by each call. */
#ifndef SD_CLUSTER_OUTBOX_H
#define SD_CLUSTER_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/slice.h"
#include "cluster/frames.h"
#include "codec/wire.h"

struct outbox;
struct outbox_link;

enum {
    OUTBOX_LINKS = 64,
    OUTBOX_LIFE_MAX = 30000, /* ms; longer lives are cut */
    OUTBOX_TRIES = 4         /* times that a uid may be elsewhere */
};

/* None of them may call the outbox. */
struct outbox_calls {
    void *arg;
    /* A frame for a relay; `v` and what it points to are borrowed. */
    void (*emit)(void *arg, void *relay, unsigned type, const struct slice *v,
                 unsigned n);
    /* Where is this uid?  Answered later, by outbox_resolved(). */
    void (*resolve)(void *arg, const struct slice *uid);
    /* 0: delivered.  SD_ETIMEOUT and SD_ECLOSED: unknown.  Any other code: it
     * was not, and will not be. */
    void (*settled)(void *arg, uint64_t token, int outcome);
    /* May the process at this place be alive, as far as the members of the
     * cluster say?  What waits for one that no relay leads to ends with
     * SD_EGONE if not; SD_ECLOSED, if it may have arrived.  NULL: yes. */
    bool (*lives)(void *arg, const struct place *place);
};

/* Zero in any of them: a default. */
struct outbox_limits {
    uint32_t window_count; /* messages at one relay without answer */
    uint32_t window_bytes;
    uint32_t count; /* messages that are kept at all */
    uint32_t bytes;
    uint32_t queue; /* of one lane that cannot be sent now */
    uint32_t held;  /* publishes that wait for places without links */
};

struct outbox_figures {
    uint64_t accepted, busy;              /* sends */
    uint64_t delivered, refused, unknown; /* settled */
    uint64_t frames, again;               /* data frames; of them not first */
    uint64_t resolves, breaks;            /* questions; ended links */
    uint64_t missed;       /* publishes settled while a place had no link */
    uint32_t count, bytes; /* kept now: not settled, or answers are missing */
    uint32_t lanes;
};

/* To whom: a place, a uid, or a kind and a name. */
struct outbox_to {
    enum frames_type type;
    enum frames_kind kind;
    struct place place;
    struct slice name;
    bool is_newest; /* of the uid's places only the one that came last */
    bool is_beside; /* those of our own node have it already */
};

/* What is sent; all borrowed. */
struct outbox_mail {
    const struct wire_head *head; /* its counter is higher than the last */
    const struct slice *body;     /* in so many pieces */
    unsigned pieces;
    uint64_t token; /* for `settled` */
};

/* `key` is the same in all processes of the cluster, and secret; `boot` is of
 * our own node, which publishes skip. */
struct outbox *outbox_new(const struct outbox_calls *calls,
                          const struct outbox_limits *limits,
                          const struct hash_key *key, uint64_t boot);

/* Settles nothing. */
void outbox_free(struct outbox **op);

/* A link to a relay is up; `id` is the relay's, the same for everybody.  It
 * is used when the relay has said which places it covers.  NULL: there are
 * OUTBOX_LINKS already. */
struct outbox_link *outbox_open(struct outbox *o, void *relay, uint64_t id,
                                uint64_t now);

/* The link is down: what waits there for an answer goes another way. */
void outbox_close(struct outbox *o, struct outbox_link *l, uint64_t now);

/* An ACK, NACK or COVER frame has come.  SD_EPROTO: close the link. */
int outbox_take(struct outbox *o, struct outbox_link *l, unsigned type,
                struct slice payload, uint64_t now);

/* Send a message, which is copied.  0: `settled` will be called.  SD_EBUSY,
 * SD_ETOOLARGE, SD_ETIMEOUT (no life), SD_EUNAVAILABLE: nothing was kept. */
int outbox_send(struct outbox *o, const struct outbox_to *to,
                const struct outbox_mail *mail, uint64_t now);

enum outbox_found {
    OUTBOX_AT,          /* these places, or none: it is offline */
    OUTBOX_UNAVAILABLE, /* nobody could be asked: once more, later */
    /* Nor soon: ask all processes.  Which is the newest nobody knows then:
     * what is for that one alone ends as SD_EUNAVAILABLE. */
    OUTBOX_FLOOD
};

struct outbox_places {
    enum outbox_found found;
    bool is_sole; /* a uid has one place at a time here */
    unsigned count;
    const struct frames_spot *spot; /* borrowed; FRAMES_PLACES are looked at */
};

/* The answer to `resolve`. */
void outbox_resolved(struct outbox *o, struct slice uid,
                     const struct outbox_places *at, uint64_t now);

/* Is any message to this uid without an outcome, but for those that were sent
 * beside?  Then whoever sends to it another way would overtake that. */
bool outbox_owes(const struct outbox *o, struct slice uid);

/* Without any relay, what is kept for this uid would hold up the rest: it is
 * settled, with SD_ECLOSED.  False: there is a relay. */
bool outbox_drop(struct outbox *o, struct slice uid, uint64_t now);

/* Has any relay a link to that process? */
bool outbox_covers(const struct outbox *o, const struct place *place);

/* End lives and waits.  Call it when outbox_next() has come. */
void outbox_tick(struct outbox *o, uint64_t now);
uint64_t outbox_next(const struct outbox *o); /* UINT64_MAX: never */

/* The relay that owns a uid, to which bindings are told first; NULL: none. */
void *outbox_owner(const struct outbox *o, struct slice uid);

/* Has a relay told its places?  Else nobody knows who can be reached. */
bool outbox_is_linked(const struct outbox *o);

/* Show all places that relays lead to; `fn` may not call the outbox. */
void outbox_each_place(struct outbox *o,
                       void (*fn)(void *arg, const struct place *place),
                       void *arg);

/* How full it is, 0 to 100. */
unsigned outbox_fill(const struct outbox *o);

const struct outbox_figures *outbox_figures(const struct outbox *o);

#endif
