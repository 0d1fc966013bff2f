/* metrics.h - the figures of all processes as Prometheus text, 0.0.4. */
#ifndef SD_PROC_METRICS_H
#define SD_PROC_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/conf.h"
#include "ipc/mesh.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct membership;

struct metrics {
    const char *node, *version;
    unsigned generation;
    uint64_t now; /* clock_ms() */
    const struct mesh *mesh;
    const struct conf *conf;             /* of the application */
    const struct membership *membership; /* NULL: of no cluster */
};

void metrics_text(const struct metrics *m, struct buf *out);

#endif
