/* cluster_status.h - what `sdlua status --cluster` shows, as the agent knows
 * it. */
#ifndef SD_PROC_CLUSTER_STATUS_H
#define SD_PROC_CLUSTER_STATUS_H

#include "base/buf.h"
#include "cluster/gossip_udp.h"
#include "proc/process.h"

/* {"members":[...],"links":[...],"gossip":{...},"dropped":[...]}; seconds and
 * bytes. */
void cluster_status_json(const struct gossip_udp *u, const struct process *p,
                         struct buf *out);

#endif
