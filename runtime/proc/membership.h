/* membership.h - the agent's part of the cluster: it speaks for this node or
 * dispatch, and tells the other processes who there is. */
#ifndef SD_PROC_MEMBERSHIP_H
#define SD_PROC_MEMBERSHIP_H

#include "base/buf.h"
#include "proc/process.h"

struct membership;

struct membership_hooks {
    /* As much is known as there is to know in a first moment: serve.  Once. */
    void (*on_settled)(void *arg);
    /* Another member has our name; both addresses are in the text. */
    void (*on_conflict)(void *arg, const char *text);
    void *arg;
};

/* On the sockets of the heritage.  0, or a negative code with a constant text
 * in *why. */
int membership_open(struct membership **out, struct process *p,
                    const struct membership_hooks *hooks, const char **why);
void membership_close(struct membership **mp);

/* Another generation's configuration serves: p->conf. */
void membership_take(struct membership *m);

/* Say goodbye; true when it was said. */
bool membership_leave(struct membership *m);

/* One JSON object, for `sdlua status --cluster`. */
void membership_json(const struct membership *m, struct buf *out);

#endif
