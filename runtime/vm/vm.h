/* vm.h - one Lua state: made from a generation's code, replaced as a whole.
 *
 * The process is C and does not die; a vm is one generation of the
 * application's code inside it.  The vms of a process are kept by vm/vms.h,
 * which the roles talk to; this is what the two share. */
#ifndef SD_VM_VM_H
#define SD_VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/code.h"

struct loop;
struct elsewhere;
struct mesh;
struct running;
struct net;
struct uidmap;
struct vm;
struct vms;

/* Exit status of a task process that ended itself because a call was not over
 * in time.  The process is to be replaced at once; it did not crash. */
enum {
    VM_EXIT_OVERDUE = 124
};

enum vm_role {
    VM_WORKER,
    VM_TASK
};

/* What vms need of their process; all borrowed until vms_free(). */
struct vm_env {
    enum vm_role role;
    unsigned slot, epoch;
    unsigned index; /* number of this worker or task among its kind */
    uint64_t boot;
    const char *node;
    struct loop *loop;
    struct mesh *mesh;
    struct net *net;             /* NULL in a task process */
    struct uidmap *uids;         /* NULL: uids of this process only */
    const struct roster *roster; /* NULL: of no cluster */
    struct linkboard *links;     /* our page, with `roster` */
    struct elsewhere *elsewhere; /* NULL: uids are on this node only */
    void *timers;                /* shared schedule block, ipc/shtimer.h */
    struct running *running;     /* where to tell what Lua is at; NULL: not */
    const char *embedded_redis;  /* socket path for url "embedded" */

    /* Of one vm; filled in by vms_build(). */
    unsigned generation;
    const struct bundle *bundle;
    const struct conf *conf;
    const char *why; /* "start", "respawn" or "reload", told to on_start */
};

#endif
