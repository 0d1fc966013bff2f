/* vm.h - one Lua state that serves: made from a bundle, replaced as a whole.
 *
 * The process is C and does not die; a vm is one generation of the
 * application's code inside it.  A worker or task process opens one, starts
 * it, feeds it conns, requests and messages, and closes it.  Everything that
 * enters Lua passes through this layer, always protected. */
#ifndef SD_VM_VM_H
#define SD_VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bundle.h"
#include "base/conf.h"
#include "base/slice.h"

struct loop;
struct mesh;
struct net;
struct uidmap;
struct conn;
struct conn_ops;
struct vm;

/* Exit status of a task process that ended itself because a call was not over
 * in time.  The process is to be replaced at once; it did not crash. */
enum {
    VM_EXIT_OVERDUE = 124
};

enum vm_role {
    VM_WORKER,
    VM_TASK
};

/* What a vm needs of its process; all borrowed until vm_close(). */
struct vm_env {
    enum vm_role role;
    unsigned slot, epoch, generation;
    unsigned index; /* number of this worker or task among its kind */
    uint64_t boot;
    const char *node;
    const char *why; /* "start" or "respawn", told to on_start */
    struct loop *loop;
    struct mesh *mesh;
    struct bundle *bundle;
    const struct conf *conf;
    struct net *net;            /* NULL in a task process */
    struct uidmap *uids;        /* NULL: uids of this process only */
    void *timers;               /* shared schedule block, ipc/shtimer.h */
    const char *embedded_redis; /* socket path for url "embedded" */
};

/* Make the Lua state and load framework and scripts.  0, or SD_EFAILED with
 * `why` = "file:line: message".  On error nothing is left open. */
int vm_open(struct vm **out, const struct vm_env *env, char *why,
            size_t why_size);

/* Run on_start; `on_started(arg, err, text)` comes once, maybe before this
 * returns.  Only after success does the vm take conns and messages. */
typedef void vm_started_fn(void *arg, int err, const char *text);
void vm_start(struct vm *vm, vm_started_fn *on_started, void *arg);

/* No configured timer runs any more. */
void vm_rest(struct vm *vm);

/* Run on_stop, for at most server.call_timeout; `on_stopped(arg)` comes once,
 * maybe before this returns.  vm_rest() is part of it. */
typedef void vm_stopped_fn(void *arg);
void vm_stop(struct vm *vm, vm_stopped_fn *on_stopped, void *arg);

/* Calls running or waiting that serve a packet, request, task or configured
 * timer.  A stop waits until none is left. */
unsigned vm_calls(const struct vm *vm);
uint64_t vm_memory(const struct vm *vm);

/* Fill in what a vm counts: sends and task calls of ipc/counters.h. */
void vm_count(const struct vm *vm, uint64_t *counters);

/* Free everything.  Handles still open on the loop are closed first; their
 * close callbacks may run later without touching the vm. */
void vm_close(struct vm **vp);

/* Let somebody look inside, over the socket `fd` (taken): vm/console.h. */
void vm_console(struct vm *vm, int fd);

/* Close a conn with its route's last packet; not while Lua runs. */
void vm_close_conn(struct vm *vm, struct conn *c, const char *reason);

/* What the net layer calls for the life of a conn; arg is the vm. */
extern const struct conn_ops vm_conn_ops;

/* What the mesh calls with messages for this process and with the news that
 * another one has died; worker.c installs it by mesh_set_hooks(). */
struct mesh_hooks;
void vm_mesh_hooks(struct vm *vm, struct mesh_hooks *out);

#endif
