/* rivals.h - the policies of uids among the workers of a node. */
#ifndef SD_VM_RIVALS_H
#define SD_VM_RIVALS_H

#include <stdbool.h>

#include "base/slice.h"
#include "net/uids.h"

struct member;
struct people;

/* Write a binding where the node reads it, in place of the one the member
 * has.  0, SD_EREFUSED: another worker has the uid; SD_EBUSY: no room. */
int rivals_bind(struct people *p, struct member *m, struct slice uid,
                enum uids_policy policy);

/* Tell the older conns of other workers to go.  True: one there is newer, and
 * we have to. */
bool rivals_kick(struct people *p, const struct member *m, struct slice uid);

#endif
