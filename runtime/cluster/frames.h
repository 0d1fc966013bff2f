/* frames.h - what links between workers and relays carry: written, and read
 * strictly.  Pure.
 *
 * A link hands over whole frames, (type, payload).  Each direction of a link
 * counts its data frames, 1, 2, 3 ...; the number is not written, and answers
 * name it.  The mail of a data frame is codec/wire.h's head and body; what is
 * before it says where to, and in which order: see cluster/outbox.h. */
#ifndef SD_CLUSTER_FRAMES_H
#define SD_CLUSTER_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cluster/place.h"
#include "codec/wire.h"

enum frames_type {
    FRAMES_PLACE = 1,   /* data, to one process */
    FRAMES_UID = 2,     /* data, to all conns of a uid */
    FRAMES_PUBLISH = 3, /* data, to who is interested */
    FRAMES_DATA_END,

    FRAMES_HEARTBEAT = 16,
    FRAMES_ACK,      /* ranges of the peer's numbers: delivered */
    FRAMES_NACK,     /* numbers, each with a reason */
    FRAMES_LOCATE,   /* to a relay: a uid has come to me, or left me */
    FRAMES_INTEREST, /* to a relay: what I have subscribers for */
    FRAMES_COVER,    /* from a relay: the places it has links to */
    FRAMES_BYE,
    FRAMES_TIME, /* when the data behind it was written */
    FRAMES_END
};

enum {
    FRAMES_UID_LENGTH = 128,
    FRAMES_NAME_LENGTH = 1024,
    FRAMES_PLACES = 64,          /* of one uid */
    FRAMES_FILTERS = 256 * 1024, /* of one link, that a relay keeps */
    FRAMES_HEAD_MAX = 13 + 2 + FRAMES_UID_LENGTH + FRAMES_PLACES * 19,
    FRAMES_CONTROL_MAX = 160 /* of LOCATE */
};

enum frames_flag {
    FRAMES_AGAIN = 1,  /* sent before: the receiver may know its id */
    FRAMES_SOLE = 2,   /* of the places: a uid has one at a time */
    FRAMES_FLOOD = 4,  /* nobody knows the place: ask everybody */
    FRAMES_NEWEST = 8, /* of the places of a uid only the newest */
    FRAMES_FLAGS = 15
};

/* Where a message stands among those of its sender.  Numbers are counters of
 * wire heads, as distances back from the message's own. */
struct frames_order {
    uint32_t term;      /* how often the sender lost sight of a message */
    uint32_t base_back; /* the oldest message that is not settled */
    uint32_t prev_back; /* the one before to the same name; 0: settled all */
    uint8_t flags;      /* of enum frames_flag */
};

enum frames_kind {
    FRAMES_TOPIC = 1,
    FRAMES_GROUP,
    FRAMES_ALL,
    FRAMES_EVENT
};

/* A place of a uid, and when it came there: higher numbers are newer. */
struct frames_spot {
    struct place place;
    uint64_t bind;
};

struct frames_data {
    enum frames_type type;
    struct frames_order order;
    struct place place;    /* FRAMES_PLACE */
    struct slice name;     /* FRAMES_UID, FRAMES_PUBLISH */
    struct slice spots;    /* FRAMES_UID, encoded, or empty */
    enum frames_kind kind; /* FRAMES_PUBLISH */
    uint32_t losses;       /* FRAMES_PUBLISH: of the COVER it relies on */
    struct slice mail;     /* wire head and body */
    struct wire_head head; /* read from the mail */
    struct slice body;
};

/* Why a message was not delivered.  Up to FRAMES_RETRY_END the sender tries
 * again; of several answers frames_worse() counts. */
enum frames_reason {
    FRAMES_NOT_HERE = 1, /* no conn of the uid at its place */
    FRAMES_STALE,        /* of an older term than one that was seen */
    FRAMES_GAP,          /* the message before it was not seen */
    FRAMES_MOVED,        /* the relay has lost places since that COVER */
    FRAMES_UNKNOWN,      /* the relay does not know the uid's places */
    FRAMES_NO_WAY,       /* the relay has no link to the place */
    FRAMES_LOST,         /* a link broke before the answer: perhaps done */
    FRAMES_RETRY_END,

    FRAMES_FORGOTTEN = 32, /* perhaps a double: perhaps done */
    FRAMES_EXPIRED,        /* no life left: perhaps done elsewhere */
    FRAMES_FAILED,
    FRAMES_REFUSED,
    FRAMES_TOO_LARGE,
    FRAMES_GONE,
    FRAMES_SLOW,
    FRAMES_BUSY,
    FRAMES_REASON_END
};

enum frames_nack_flag {
    FRAMES_TOOK = 1,  /* another receiver took it */
    FRAMES_MAYBE = 2, /* another receiver may have taken it */
    FRAMES_KNOWN = 4, /* another receiver has refused it for good */
    FRAMES_NACK_FLAGS = 7
};

struct frames_range {
    uint64_t first;
    uint32_t count;
};

struct frames_nack {
    uint64_t number;
    enum frames_reason reason;
    uint8_t flags; /* of enum frames_nack_flag */
};

struct frames_locate {
    bool is_here; /* else it has left */
    bool is_sole; /* who had it before has lost it */
    uint64_t bind;
    struct slice uid;
};

enum frames_op {
    FRAMES_ADD = 1,
    FRAMES_REMOVE,
    FRAMES_RESET,   /* INTEREST: forget all and send me everything */
    FRAMES_COMPLETE /* INTEREST: from now on only what I told */
};

struct frames_interest {
    enum frames_op op;
    enum frames_kind kind; /* FRAMES_TOPIC or FRAMES_GROUP */
    struct slice name;
};

struct frames_cover {
    enum frames_op op;   /* FRAMES_ADD or FRAMES_REMOVE */
    uint32_t losses;     /* places the relay has ever lost */
    struct slice places; /* encoded */
};

static inline bool frames_is_data(unsigned type)
{
    return type > 0 && type < FRAMES_DATA_END;
}

static inline bool frames_is_retry(enum frames_reason reason)
{
    return reason > 0 && reason < FRAMES_RETRY_END;
}

/* Which of two answers decides; 0 is "delivered", and the best. */
static inline enum frames_reason frames_worse(enum frames_reason a,
                                              enum frames_reason b)
{
    if (frames_is_retry(a) != frames_is_retry(b))
        return frames_is_retry(a) ? a : b;
    return a > b ? a : b;
}

/* What all answers come to: 0 is "delivered".  Somebody who took it counts
 * more than one who has gone or is busy, but who has to be tried again is. */
static inline enum frames_reason frames_outcome(enum frames_reason worst,
                                                bool took)
{
    if (took && (worst == FRAMES_NOT_HERE || !frames_is_retry(worst)))
        return 0;
    return worst;
}

/* All of these: 0, or SD_EPROTO and *out may hold anything.  What they give
 * out is borrowed from the payload. */
int frames_read_data(struct frames_data *out, unsigned type, struct slice p);
int frames_read_locate(struct frames_locate *out, struct slice p);
int frames_read_interest(struct frames_interest *out, struct slice p);
int frames_read_cover(struct frames_cover *out, struct slice p);

/* The uid of a FRAMES_UID, before it is read; empty: it is none. */
struct slice frames_peek_uid(struct slice p);

/* The next of several: true while there are any.  Lists were checked by the
 * calls above, ACK and NACK by those below. */
bool frames_next_spot(struct frames_spot *out, struct slice *rest);
bool frames_next_place(struct place *out, struct slice *rest);

/* 1 and the next, 0 at the end, SD_EPROTO. */
int frames_next_ack(struct frames_range *out, struct slice *rest);
int frames_next_nack(struct frames_nack *out, struct slice *rest);

/* What comes before the mail, at most FRAMES_HEAD_MAX bytes: its length.
 * Takes d's type, order, place, name, spots, kind and losses. */
size_t frames_write_head(char *out, const struct frames_data *d);

enum {
    FRAMES_ACK_SIZE = 12,
    FRAMES_NACK_SIZE = 10
};
enum {
    FRAMES_SPOT_SIZE = 19,
    FRAMES_PLACE_SIZE = 11,
    FRAMES_COVER_HEAD = 5
};

/* Each appends one to the payload at `out` and returns its length. */
size_t frames_write_ack(char *out, const struct frames_range *r);
size_t frames_write_nack(char *out, const struct frames_nack *n);
size_t frames_write_spot(char *out, const struct frames_spot *s);
size_t frames_write_place(char *out, const struct place *p);

/* Whole payloads: of at most FRAMES_CONTROL_MAX, and of 2 + name. */
size_t frames_write_locate(char *out, const struct frames_locate *l);
size_t frames_write_interest(char *out, const struct frames_interest *i);

/* Places follow. */
size_t frames_write_cover(char *out, const struct frames_cover *c);

/* The error word's code of a reason that is final. */
int frames_error(enum frames_reason reason);

/* The reason for an error code, by which receivers answer. */
enum frames_reason frames_reason_of(int err);

#endif
