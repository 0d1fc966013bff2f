/* tables.h - what lies in the memory that a mesh has for upper layers: when
 * timers run next (ipc/shtimer.h), which conns uids have (ipc/uidmap.h), how
 * many conns there are (ipc/tally.h), which are the slowest (ipc/slowest.h),
 * what is counted by port (ipc/port_counters.h), what workers are at
 * (ipc/running.h), who there is in the cluster (ipc/roster.h), who of here is
 * on other nodes too (ipc/elsewhere.h), and how the links are
 * (ipc/linkboard.h). */
#ifndef SD_PROC_TABLES_H
#define SD_PROC_TABLES_H

#include <stddef.h>

#include "base/conf.h"
#include "ipc/elsewhere.h"
#include "ipc/linkboard.h"
#include "ipc/mesh.h"
#include "ipc/port_counters.h"
#include "ipc/roster.h"
#include "ipc/running.h"
#include "ipc/slowest.h"

/* Bytes of all of them. */
size_t tables_size(const struct conf *conf);

/* Master: once, before any process runs. */
void tables_init(const struct mesh *m, const struct conf *conf);

/* Master: before a generation's processes run, and before one is committed:
 * its timers go on where their last generation was. */
void tables_adopt_timers(struct mesh *m, const struct conf *conf,
                         unsigned generation);

/* Where they are, in any process. */
void *tables_timers(const struct mesh *m);
void *tables_uids(const struct mesh *m);
void *tables_tally(const struct mesh *m, const struct conf *conf);
struct slowest *tables_slowest(const struct mesh *m, const struct conf *conf,
                               unsigned slot);
struct port_counters *tables_ports(const struct mesh *m,
                                   const struct conf *conf, unsigned slot);
struct running *tables_running(const struct mesh *m, const struct conf *conf,
                               unsigned slot);
struct linkboard *tables_links(const struct mesh *m, const struct conf *conf,
                               unsigned slot);
struct roster *tables_roster(const struct mesh *m, const struct conf *conf);
struct elsewhere *tables_elsewhere(const struct mesh *m,
                                   const struct conf *conf);

#endif
