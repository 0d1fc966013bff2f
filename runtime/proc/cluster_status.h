/* cluster_status.h - what `sdlua status --cluster` shows, as the agent knows
 * it. */
#ifndef SD_PROC_CLUSTER_STATUS_H
#define SD_PROC_CLUSTER_STATUS_H

#include "base/buf.h"
#include "cluster/gossip.h"
#include "proc/process.h"

/* {"members":[...],"links":[...]}; seconds and bytes. */
void cluster_status_json(const struct gossip *g, const struct process *p,
                         struct buf *out);

#endif
