/* kick.h - conns of other workers that have to go. */
#ifndef SD_VM_KICK_H
#define SD_VM_KICK_H

#include "base/list.h"
#include "base/slice.h"

struct uidmap_binding;
struct vms;

struct kicks {
    struct vms *all;
    struct list late; /* for which there was no room */
};

void kicks_init(struct kicks *k, struct vms *all);
void kicks_fini(struct kicks *k);

/* Tell the worker of a binding to close its conn; later when there is no room
 * now. */
void kicks_send(struct kicks *k, const struct uidmap_binding *b,
                const char *reason);

/* All conns of a uid on other workers.  How many. */
unsigned kicks_uid(struct kicks *k, struct slice uid, const char *reason);

/* End of a turn: what had no room. */
void kicks_turn(struct kicks *k);

/* Body of MSG_KICK, behind the wire head. */
void kicks_take(struct kicks *k, struct slice body);

#endif
