/* membership.h - the agent's part of the cluster: it speaks for this node or
 * dispatch, and tells the other processes who there is. */
#ifndef SD_PROC_MEMBERSHIP_H
#define SD_PROC_MEMBERSHIP_H

#include "base/buf.h"
#include "cluster/gossip.h"
#include "proc/process.h"

struct membership;
struct gossip_udp;

struct membership_hooks {
    /* As much is known as there is to know in a first moment: serve.  Once. */
    void (*on_settled)(void *arg);
    /* Another member has our name; both addresses are in the text. */
    void (*on_conflict)(void *arg, const char *text);
    /* Something about a rolling reload, of a member (cluster/roll_msg.h).  0;
     * SD_EPROTO: of another version, or none. */
    int (*on_roll)(void *arg, struct slice bytes);
    /* A member is no more: `how` for people. */
    void (*on_lost)(void *arg, uint64_t boot, const char *how);
    void *arg;
};

/* On the sockets of the heritage.  0, or a negative code with a constant text
 * in *why. */
int membership_open(struct membership **out, struct process *p,
                    const struct membership_hooks *hooks, const char **why);
void membership_close(struct membership **mp);

/* Another generation's configuration serves: p->conf. */
void membership_take(struct membership *m);

/* The node drains, or stops: tell the others, whatever its workers say. */
void membership_drain(struct membership *m);

/* Say goodbye; true when it was said. */
bool membership_leave(struct membership *m);

/* Who there is.  Borrowed for this turn. */
const struct gossip *membership_look(const struct membership *m);

const struct gossip_udp *membership_udp(const struct membership *m);

/* A datagram for a member; it may be lost on the way. */
void membership_send(struct membership *m, uint64_t boot, struct slice bytes);

/* One JSON object, for `sdlua status --cluster`. */
void membership_json(const struct membership *m, struct buf *out);

#endif
