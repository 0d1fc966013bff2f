/* metrics_cluster.h - the part of /metrics that is about other members. */
#ifndef SD_PROC_METRICS_CLUSTER_H
#define SD_PROC_METRICS_CLUSTER_H

#include "proc/metrics.h"

/* Nothing without a membership. */
void metrics_cluster(const struct metrics *m, struct buf *out);

#endif
