/* stall.h - finds workers and relays that are stuck, names what they are at,
 * and ends those that burn CPU without ever coming back. */
#ifndef SD_PROC_STALL_H
#define SD_PROC_STALL_H

#include "base/conf.h"
#include "ipc/mesh.h"
#include "ipc/running.h"
#include "loop/loop.h"
#include "proc/crew.h"
#include "proc/node.h"

struct stall;

/* For how long the worker or relay in `slot` has not answered; 0: it does. */
uint64_t stall_age(const struct mesh *m, unsigned slot, uint64_t now);

/* What it is at: "packet chat/say of port game, uid ann". */
void stall_text(char *out, size_t size, const struct mesh *m,
                const struct conf *conf, unsigned slot);

/* Master, once the node serves.  All borrowed until stall_close(), which
 * accepts NULL. */
struct stall *stall_open(struct loop *loop, struct mesh *mesh,
                         const struct crew *crew, const struct node *node);
void stall_close(struct stall **sp);

#endif
