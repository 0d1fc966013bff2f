/* readiness.h - is the node one to send clients to? */
#ifndef SD_PROC_READINESS_H
#define SD_PROC_READINESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "ipc/slots.h"

/* True when every worker is ready and its loop has turned within `hang` ms
 * (0: whenever).  Appends {"ready":true}, or {"ready":false,"reasons":[...]}
 * with one sentence a worker. */
bool readiness_json(const struct slots *slots, uint64_t now, uint64_t hang,
                    struct buf *out);

#endif
