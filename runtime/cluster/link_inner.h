/* link_inner.h - what the files of a link share: link.c (its life) and
 * link_io.c (its bytes). */
#ifndef SD_CLUSTER_LINK_INNER_H
#define SD_CLUSTER_LINK_INNER_H

#include "base/buf.h"
#include "base/list.h"
#include "cluster/beats.h"
#include "cluster/link.h"
#include "cluster/link_socket.h"
#include "cluster/strangers.h"
#include "loop/pollfd.h"
#include "loop/timer.h"

#define LINK_MAGIC  0x6c696e6bu
#define LINKS_MAGIC 0x6c6e6b73u

enum {
    LINK_READ_SIZE = 64 * 1024,
    LINK_WHY = 96
};

enum link_state {
    LINK_DIALING,
    LINK_PROVING,
    LINK_OPEN,
    LINK_CLOSING,
};

struct link {
    unsigned magic;
    enum link_state state;
    struct links *links;
    void *arg;
    struct list node;         /* of links.all */
    struct list dirty;        /* of links.dirty or links.closing */
    struct stranger stranger; /* while we accepted it without a proof */
    struct dial *dial;
    int fd; /* -1: none */
    struct pollfd_watch *watch;
    struct timer timer;
    struct hand *hand;     /* while it is proved */
    struct stream *stream; /* from then on */
    unsigned char key_id[HAND_KEY_ID];
    struct buf out;
    bool is_blocked; /* the socket takes no more for now ... */
    bool may_write;  /* ... but has woken us: perhaps it does */
    const char *why; /* it ends */
    char text[LINK_WHY];
    char peer[LINK_SOCKET_NAME];
    uint64_t began, beaten; /* ms */
    uint64_t heard_us;      /* when the last bytes were read */
    uint64_t stamped;       /* clock_tick_ns() of the last stamp */
    struct beats beats;
};

struct links {
    unsigned magic;
    struct links_config config;
    struct list all, dirty, closing;
    struct strangers strangers;
    struct loop_hook hook;
    struct links_figures figures;
    uint64_t tick; /* a relay's clock_tick_ns(), while it takes; else 0 */
    char in[LINK_READ_SIZE];
};

/* --- link.c --------------------------------------------------------------- */

/* Its turn to write comes at the end of this turn. */
void link_mark(struct link *l);

/* Both sides have proved who they are; `peer` is borrowed.  False: it ends. */
bool link_begin(struct link *l, const struct hand_session *s);

/* Another one of our side has to go, or nobody (NULL). */
void link_drop(struct stranger *one, const char *why);

/* --- link_io.c ------------------------------------------------------------ */

/* Everything that was written, as far as the socket takes it.  0 or -errno. */
int link_send(struct link *l);

/* Take what has come; may close the link. */
void link_receive(struct link *l);

void link_beat(struct link *l, uint64_t now);

#endif
