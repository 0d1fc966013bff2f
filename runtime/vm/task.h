/* task.h - calls to task processes: the worker's side and the task's.
 *
 * A worker picks the least busy task process, sends name, method, context and
 * arguments as one message, and parks the caller; the answer, the death of
 * the process, or the deadline ends the wait.  A task process runs one call
 * at a time and is killed by its own alarm when a call is not over
 * server.task_grace after its deadline. */
#ifndef SD_VM_TASK_H
#define SD_VM_TASK_H

#include "ipc/mesh.h"

struct tasks;
struct vm;
struct vms;

struct tasks *tasks_new(struct vms *all);
void tasks_free(struct tasks **tp);

/* From the mesh. */
enum mesh_verdict tasks_on_call(struct tasks *t, const struct mesh_msg *m);
void tasks_on_reply(struct tasks *t, const struct mesh_msg *m);
void tasks_on_cancel(struct tasks *t, const struct mesh_msg *m);
void tasks_on_back(struct tasks *t, const struct mesh_msg *m);
void tasks_on_gone(struct tasks *t, unsigned slot, uint16_t epoch);

/* A vm ends: none of its coroutines waits for an answer any more. */
void tasks_forget(struct tasks *t, const struct vm *vm);

#endif
