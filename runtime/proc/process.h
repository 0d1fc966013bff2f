/* process.h - what all children but the configuration's have in common: loop,
 * log, mesh, configuration, vm, leash and heartbeat. */
#ifndef SD_PROC_PROCESS_H
#define SD_PROC_PROCESS_H

#include <stdbool.h>

#include "base/code.h"
#include "ipc/mesh.h"
#include "ipc/port_counters.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "proc/heritage.h"
#include "proc/leash.h"
#include "vm/vms.h"

struct pollfd_watch;
struct net;
struct tally;
struct uidmap;

/* Embedded in the role's struct.  The first block may be read by the role. */
struct process {
    unsigned magic;
    const struct heritage *h;
    struct loop *loop;
    struct mesh *mesh;
    struct slots *slots;
    struct uidmap *uids;
    struct tally *tally;     /* NULL but in a worker */
    struct code *code;       /* of the generation that serves */
    struct code *next;       /* of the one that is built or stands by */
    unsigned vote;           /* the master's number of the vote on it */
    struct leash_msg wanted; /* a generation to be made a little later ... */
    int wanted_fd;           /* ... and its bundle; -1: none */
    struct timer look;       /* whether it can be by now ... */
    uint64_t wanted_until;   /* ... or is given up (loop time) */
    uint64_t renewed;        /* clock_ms() of the last time; 0: never */
    const struct conf *conf; /* its configuration */
    struct vms *vms; /* NULL until process_start(), always in the agent */
    struct net *net; /* set by who has one before it is ready, else NULL */
    int status;      /* what to exit with */
    /* The vm has run on_start: serve, then process_ready(). */
    void (*on_started)(struct process *p);
    /* A message of the master. */
    void (*on_leash)(struct process *p, const struct leash_msg *m);
    /* Without a vm: somebody asks for `what`; takes the descriptor.  May be
     * NULL. */
    void (*on_console)(struct process *p, int fd, uint32_t what);
    /* Without a vm: another configuration serves.  May be NULL. */
    void (*on_config)(struct process *p);
    /* Heartbeat: what the role has counted (COUNTERS numbers).  May be
     * NULL. */
    void (*on_count)(struct process *p, uint64_t *v);
    /* The loop has ended and is about to be closed.  May be NULL. */
    void (*on_end)(struct process *p);

    struct pollfd_watch *leash_watch, *mesh_watch; /* private from here */
    struct loop_hook mesh_hook;
    struct timer heartbeat;
    struct counters_writer counters;
    struct port_counters_writer port_counters; /* begun with `tally` */
    bool had_slow; /* conns that the last heartbeat told of */
};

/* Wait for the master's word, then open everything but the vm.  0, or a
 * negative code; then the master was told why. */
int process_open(struct process *p, const struct heritage *h);

/* Make the vm and start it; on_started() or process_refuse() follows. */
void process_start(struct process *p);

/* The slot is ready from now on. */
void process_ready(struct process *p);

/* Tell the master that this process cannot start, and end. */
void process_refuse(struct process *p, const char *why);

/* Take part in the mesh: `hooks` get its messages.  process_start() does it
 * for a process with a vm. */
void process_join(struct process *p, const struct mesh_hooks *hooks);

/* All calls have ended: run on_stop, then leave process_run(). */
void process_finish(struct process *p);

/* Turn until loop_stop(), close everything.  The exit status. */
int process_run(struct process *p);

#endif
