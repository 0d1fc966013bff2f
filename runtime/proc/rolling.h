/* rolling.h - the agent's part of `sdlua reload --cluster`: both of who runs
 * it, for a client of the control socket, and of a node whose turn it is.
 *
 * The client gets lines of JSON.  One for each node that has reloaded:
 *
 *     {"node":"a","generation":7,"notes":[]}
 *
 * and at last one that tells them all:
 *
 *     {"ok":false,"nodes":[{"node":"a","state":"reloaded","generation":7},
 *      {"node":"b","state":"failed","generation":6},
 *      {"node":"c","state":"untouched","generation":6}],
 *      "errors":["b: scripts/app.lua:3: ..."]}
 *
 * Who goes away before that ends it before the next node. */
#ifndef SD_PROC_ROLLING_H
#define SD_PROC_ROLLING_H

#include "base/slice.h"
#include "proc/membership.h"
#include "proc/process.h"

struct rolling;

/* Both are borrowed until rolling_close(). */
struct rolling *rolling_open(struct process *p, struct membership *m);
void rolling_close(struct rolling **rp);

/* A client wants one; takes his socket. */
void rolling_begin(struct rolling *r, int fd);

/* From membership.  0; SD_EPROTO: of another version, or none. */
int rolling_take(struct rolling *r, struct slice bytes);
void rolling_lost(struct rolling *r, uint64_t boot, const char *how);

#endif
