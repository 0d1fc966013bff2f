/* err.h - one error space: libuv's negative codes (= -errno) plus our own.
 *
 * The second block are the words that scripts see as `nil, "word"`; docs call
 * them the error words.  err_word() gives the word of any code. */
#ifndef SD_BASE_ERR_H
#define SD_BASE_ERR_H

enum {
    SD_EPROTO = -5001, /* malformed message */
    SD_EFULL = -5002,  /* queue full, try later */
    SD_EAGAIN = -5003, /* incomplete: more bytes are needed */

    SD_EINVALID = -5011,     /* "invalid": unreadable or wrong data */
    SD_EREFUSED = -5012,     /* "refused": policy or permission */
    SD_EOFFLINE = -5013,     /* "offline": no such uid */
    SD_EGONE = -5014,        /* "gone": the conn or object has ended */
    SD_ETOOLARGE = -5015,    /* "too_large": over a limit */
    SD_EBUSY = -5016,        /* "busy": a queue is full, not done */
    SD_ESLOW = -5017,        /* "slow": the receiver does not read */
    SD_EUNAVAILABLE = -5018, /* "unavailable": a service is away, not done */
    SD_ETIMEOUT = -5019,     /* "timeout": deadline passed, perhaps done */
    SD_ECLOSED = -5020,      /* "closed": peer closed, perhaps done */
    SD_ECRASHED = -5021,     /* "crashed": the process died, perhaps done */
    SD_ECANCELLED = -5022,   /* "cancelled": the parent ended */
    SD_EFAILED = -5023,      /* "failed": the other side raised */
};

/* One line for a person, for any code; never NULL. */
const char *err_str(int err);

/* The stable word of a code; "failed" for what has none. */
const char *err_word(int err);

/* HTTP-like status of an error word (400 for a text that is no word). */
int err_status(const char *word);

#endif
