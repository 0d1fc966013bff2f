/* vms.h - the vms of one worker or task process.
 *
 * One serves: it gets the conns' packets, requests and messages.  Beside it
 * the next one may be built, and after a switch earlier ones finish what they
 * began and are closed.  What belongs to the process and not to a generation
 * is here and shared by all of them: who is who, calls in flight, kicks. */
#ifndef SD_VM_VMS_H
#define SD_VM_VMS_H

#include "vm/vm.h"

struct conn;
struct conn_ops;
struct mesh_hooks;

struct vms *vms_new(const struct vm_env *env);

/* Close them all.  Handles still open on the loop are closed first; their
 * close callbacks may run later without touching a vm. */
void vms_free(struct vms **vp);

/* Make a vm from `code` and run on_start in it, slice by slice.  The first one
 * of a process serves from then on; a later one stands by until vms_switch().
 * `on_built(arg, err, text)` comes once: err SD_EFAILED with `text` =
 * "file:line: message", and nothing is left.  `why` is static text. */
typedef void vms_built_fn(void *arg, int err, const char *text);
void vms_build(struct vms *a, struct code *code, const char *why,
               vms_built_fn *on_built, void *arg);

/* Is one being built or standing by? */
bool vms_is_building(const struct vms *a);

/* Does one serve, and may another be built? */
bool vms_can_switch(const struct vms *a);

/* Is one about to take over?  Then it cannot be dropped. */
bool vms_is_switching(const struct vms *a);

/* Forget it: on_built() does not come any more. */
void vms_drop(struct vms *a);

/* The one that stands by shall serve as soon as the vote on it is committed:
 * when the master's slot has its number (never 0).  It does once what save()
 * keeps has been given to restore(); then comes on_switched().  Of the old one
 * calls may finish for server.reload_timeout, all else ends. */
void vms_await_commit(struct vms *a, unsigned vote,
                      void (*on_switched)(void *arg), void *arg);

/* Has it been?  To be asked at the end of each turn; bytes of clients and
 * messages that begin a call ask by themselves. */
bool vms_look_for_commit(struct vms *a);

/* The same without a commit: another vm of the same generation. */
void vms_switch(struct vms *a, void (*on_switched)(void *arg), void *arg);

/* The process is to end: no configured timer runs any more, and no other vm
 * takes over, but one that is about to. */
void vms_rest(struct vms *a);

/* Is nothing of a switch under way, and no earlier vm left? */
bool vms_is_settled(const struct vms *a);

/* Let somebody look inside the one that serves, over the socket `fd` (taken):
 * vm/console.h. */
void vms_console(struct vms *a, int fd);

/* Run on_stop, for at most server.call_timeout; `on_stopped(arg)` comes once,
 * maybe before this returns.  vms_rest() is part of it. */
typedef void vms_stopped_fn(void *arg);
void vms_stop(struct vms *a, vms_stopped_fn *on_stopped, void *arg);

/* Does what lives in the one that serves fill three quarters of
 * server.vm_memory?  Another one of the same generation begins empty. */
bool vms_is_short(const struct vms *a);

/* Vms of earlier generations that have not ended. */
unsigned vms_retired(const struct vms *a);

/* Calls running or waiting that serve a packet, request, task or configured
 * timer, of all vms.  A stop waits until none is left. */
unsigned vms_calls(const struct vms *a);
uint64_t vms_memory(const struct vms *a);
unsigned vms_generation(const struct vms *a); /* of the one that serves */

/* Fill in what vms count: sends and task calls of ipc/counters.h. */
void vms_count(const struct vms *a, uint64_t *counters);

/* Close a conn with its route's last packet; not while Lua runs. */
void vms_close_conn(struct vms *a, struct conn *c, const char *reason);

/* What the net layer calls for the life of a conn; arg is the vms. */
extern const struct conn_ops vms_conn_ops;

/* What the mesh calls with messages for this process and with the news that
 * another one has died. */
void vms_mesh_hooks(struct vms *a, struct mesh_hooks *out);

#endif
