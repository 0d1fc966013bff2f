/* inbox.h - what this process receives from other nodes: once, and in order.
 * Pure.
 *
 * A message is handed over, or refused with a reason by which its sender
 * tries again or gives up.  It is handed over only behind the one that it
 * names as the one before it to the same uid, and not if it was before. */
#ifndef SD_CLUSTER_INBOX_H
#define SD_CLUSTER_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cluster/frames.h"

struct inbox;
struct inbox_link;

enum {
    INBOX_LATER = 1,            /* the outcome comes by inbox_settle() */
    INBOX_SEEN_MS = 30000,      /* an id is remembered, at most */
    INBOX_SOURCE_MS = 3600000,  /* ... a process from which nothing comes, */
    INBOX_SOURCE_LEAST = 60000, /* ... where there is no room for more */
    INBOX_OWED = 64 * 1024      /* answers to one link, at most */
};

/* None of them may call the inbox. */
struct inbox_calls {
    void *arg;
    /* A frame for a relay; borrows. */
    void (*emit)(void *arg, void *relay, unsigned type, const struct slice *v,
                 unsigned n);
    /* Has any conn here this uid? */
    bool (*has)(void *arg, const struct slice *uid);
    /* Hand over; borrows.  0; INBOX_LATER; or an error code: refused for
     * good, where SD_EOFFLINE means that no conn has the uid after all, and
     * that nothing was done. */
    int (*deliver)(void *arg, const struct frames_data *d, uint64_t token);
};

/* Zero in any of them: a default. */
struct inbox_limits {
    uint32_t seen;    /* ids remembered, of all sources */
    uint32_t sources; /* sending processes */
};

struct inbox_figures {
    uint64_t taken, delivered, later, refused;
    uint64_t doubles, gaps, stale, not_here, forgotten, expired, busy;
    uint64_t evicted; /* ids that were dropped while they could come again */
    uint32_t seen, sources, pending;
};

struct inbox *inbox_new(const struct inbox_calls *calls,
                        const struct inbox_limits *limits);
void inbox_free(struct inbox **ip);

/* A link to a relay.  NULL: there are 64 already. */
struct inbox_link *inbox_open(struct inbox *i, void *relay);
void inbox_close(struct inbox *i, struct inbox_link *l);

/* A data frame has come, that has waited for so many ms on its link.
 * SD_EPROTO: close the link. */
int inbox_take(struct inbox *i, struct inbox_link *l, unsigned type,
               struct slice payload, uint32_t waited, uint64_t now);

/* The outcome of what was INBOX_LATER: 0 or an error code; final. */
void inbox_settle(struct inbox *i, uint64_t token, int outcome);

/* End of a turn: send the answers that were gathered. */
void inbox_turn(struct inbox *i);

/* XXX: the simulation alone calls these two, for no command moves conns yet.
 *
 * A conn goes to another process of this node: what it has got here must not
 * reach it there once more, nor anything older.  inbox_show() tells of each
 * sending process, when nothing of the uid is pending; inbox_note() has the
 * other inbox know it, and who has the conn there keeps it from messages up to
 * `last`; when that leaves nobody to take one, its outcome is SD_ECLOSED. */
struct inbox_note {
    struct place from;
    uint64_t last; /* counter of the last to this uid; 0: none that counts */
    uint32_t term;
};

void inbox_show(struct inbox *i, struct slice uid,
                void (*fn)(void *arg, const struct inbox_note *n), void *arg);
void inbox_note(struct inbox *i, const struct inbox_note *n, uint64_t now);

/* Forget what is old; about once a second. */
void inbox_tick(struct inbox *i, uint64_t now);

const struct inbox_figures *inbox_figures(const struct inbox *i);

#endif
