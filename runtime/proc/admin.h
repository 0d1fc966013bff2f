/* admin.h - the admin port: health, metrics and the door for back ends. */
#ifndef SD_PROC_ADMIN_H
#define SD_PROC_ADMIN_H

#include "ipc/mesh.h"

struct admin;
struct membership;
struct process;

/* Serve the socket of the heritage, if there is one, with p->net, which is
 * made here.  0, or a negative code with static text in *why. */
int admin_open(struct admin **out, struct process *p, const char **why);

/* After the process's loop has ended and its net was closed. */
/* Who there is in the cluster; NULL: nobody.  Borrowed until the next. */
void admin_show_cluster(struct admin *a, const struct membership *m);

void admin_close(struct admin **ap);

/* Requests that wait for a worker. */
unsigned admin_calls(const struct admin *a);

/* For mesh_set_hooks(): answers of workers, and news of their deaths. */
void admin_mesh_hooks(struct admin *a, struct mesh_hooks *out);

#endif
