/* link.h - TCP connections between workers and relays.
 *
 * A link is proved (cluster/hand.h) before anything else is read, then carries
 * frames (cluster/stream.h) both ways.  It says that it is alive every second,
 * measures the way there and back, and is over when it was silent for
 * LINK_SILENCE.  How long data was on its way is known, too: see link_waited().
 *
 * What is written in a turn of the loop leaves at its end, in as few system
 * calls as it takes.  Nobody is held up: who writes looks at link_unsent(). */
#ifndef SD_CLUSTER_LINK_H
#define SD_CLUSTER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "cluster/hand.h"
#include "cluster/stream.h"
#include "loop/loop.h"

enum {
    LINK_SILENCE = 2500,       /* ms */
    LINK_BATCH = 16,           /* frames */
    LINK_UNSENT_MAX = 64 << 20 /* bytes: above all windows */
};

/* How a link ends whose other side has ended, or has stopped. */
#define LINK_CLOSED "the other side has closed it"

struct link;
struct links; /* those of one process */

/* None is called from inside the functions below, but link_close() and all
 * others may be called from them. */
struct link_ops {
    /* Both sides have proved who they are; the peer's identity is borrowed.
     * False: it is not welcome, the link is closed. */
    bool (*on_open)(void *arg, struct link *l, struct slice peer);
    /* These will come next, at most LINK_BATCH, unless the link ends.  May be
     * NULL. */
    void (*on_batch)(void *arg, const struct stream_frame *f, unsigned n);
    /* A frame of another type than those of the link itself, borrowed. */
    void (*on_frame)(void *arg, struct link *l, const struct stream_frame *f);
    /* The last word.  `why` is for people; `l` is freed. */
    void (*on_close)(void *arg, struct link *l, const char *why);
};

struct links_config {
    struct loop *loop;
    enum hand_role role;
    const struct hand_conf *hand; /* as it is when a link begins */
    const struct link_ops *ops;
};

struct links_figures {
    uint64_t opened, closed;
    uint64_t strangers;      /* ended without a proof */
    uint64_t crowded;        /* ... for another one (cluster/strangers.h) */
    uint64_t sent, received; /* bytes */
};

/* The config is copied; what it points to is borrowed. */
struct links *links_new(const struct links_config *config);
void links_free(struct links **lp); /* closes all, without on_close() */
const struct links_figures *links_figures(const struct links *ls);

/* The keys of config.hand have changed: links that were proved with one that
 * is not among them end, and are made anew. */
void links_judge_keys(struct links *ls);

/* There are no more descriptors: the oldest stranger gives his back at the end
 * of this turn.  False: there is none. */
bool links_give_up_one(struct links *ls);

/* Connect to an address.  on_close() comes also when that fails. */
struct link *link_connect(struct links *ls, const char *host, unsigned port,
                          void *arg);

/* Serve a connection that was accepted; takes the descriptor.  NULL: it is
 * closed already.  Of too many strangers one goes (cluster/strangers.h). */
struct link *link_accept(struct links *ls, int fd, void *arg);

/* End it after this turn: on_close() comes with this `why`, which lives as
 * long as the link.  Idempotent. */
void link_close(struct link *l, const char *why);

/* Append a frame; nothing when it is not open.  0 or SD_ETOOLARGE. */
int link_write(struct link *l, uint8_t type, const struct slice *v, unsigned n);

size_t link_unsent(const struct link *l);       /* bytes */
uint32_t link_round_trip(const struct link *l); /* us; 0: not known yet */
uint64_t link_heard(const struct link *l); /* clock_ms() of the last bytes */

/* In on_frame(), of a data frame: ms that it waited since it was written, in
 * outputs and sockets, and behind others that were read with it; 0 for what is
 * quick. */
uint32_t link_waited(const struct link *l);

const char *link_peer(const struct link *l); /* "10.77.0.2:41234" */

#endif
