/* uplink.h - the way of one process to all other nodes: a link to every relay
 * that the roster knows, and what is sent and received over them. */
#ifndef SD_CLUSTER_UPLINK_H
#define SD_CLUSTER_UPLINK_H

#include "base/conf.h"
#include "cluster/identity.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"
#include "ipc/roster.h"
#include "loop/loop.h"

struct uplink;

struct uplink_calls {
    void *arg;
    /* As in cluster/inbox.h. */
    bool (*has)(void *arg, const struct slice *uid);
    int (*deliver)(void *arg, const struct frames_data *d, uint64_t token);
    /* As in cluster/outbox.h. */
    void (*resolve)(void *arg, const struct slice *uid);
    void (*settled)(void *arg, uint64_t token, int outcome);
    bool (*lives)(void *arg, const struct place *place);
    /* A link is up: tell that relay, by uplink_tell_one(), all it is to know
     * of us. */
    void (*on_relay)(void *arg, void *relay);
    /* It is down: the last word of that relay. */
    void (*on_relay_gone)(void *arg, void *relay);
};

struct uplink_config {
    struct loop *loop;
    const struct conf *conf; /* until open returns, and uplink_take() */
    const struct roster *roster;
    struct identity self;
    struct uplink_calls calls;
};

/* SD_EINVALID: a key that is none, with a constant text in *why. */
int uplink_open(struct uplink **out, const struct uplink_config *config,
                const char **why);
void uplink_close(struct uplink **up);

/* Another configuration: its keys, for links that begin.  As open. */
int uplink_take(struct uplink *u, const struct conf *conf, const char **why);

struct outbox *uplink_outbox(const struct uplink *u);
struct inbox *uplink_inbox(struct uplink *u);

/* Send a message, as outbox_send(). */
int uplink_send(struct uplink *u, const struct outbox_to *to,
                const struct wire_head *head, const struct slice *body,
                unsigned pieces, uint64_t token);

/* A control frame to every relay that is linked, or to one. */
void uplink_tell(struct uplink *u, unsigned type, struct slice payload);
void uplink_tell_one(void *relay, unsigned type, struct slice payload);
size_t uplink_unsent(void *relay); /* bytes in its link */

/* Who there is, as far as the roster says. */
const struct roster_list *uplink_roster(const struct uplink *u);

struct links_figures; /* cluster/link.h */

struct uplink_state {
    const char *dispatch; /* its name */
    uint64_t boot;
    unsigned index;
    uint64_t heard; /* clock_ms() of its last bytes; 0: the link is not open */
    size_t unsent;  /* bytes */
    uint64_t received, sent; /* messages */
    void *relay;             /* NULL: the link is not open */
    uint32_t round_trip;     /* us */
};

/* Of all its links. */
const struct links_figures *uplink_links(const struct uplink *u);

/* Relay `i`; false behind the last. */
bool uplink_state(const struct uplink *u, unsigned i, struct uplink_state *out);

#endif
