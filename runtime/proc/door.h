/* door.h - requests of back ends, handed by the agent to a worker. */
#ifndef SD_PROC_DOOR_H
#define SD_PROC_DOOR_H

#include "base/slice.h"
#include "ipc/mesh.h"

struct door_calls;
struct http_request;
struct process;

struct door_calls *door_new(struct process *p); /* borrowed */
void door_free(struct door_calls **dp);         /* when the net has closed */

/* Have a worker do `verb` with the request's body, or its query when there
 * is no body.  Takes the request: it ends with the worker's answer. */
void door_call(struct door_calls *d, struct slice verb, struct http_request *r);

/* Requests without an answer yet. */
unsigned door_count(const struct door_calls *d);

void door_mesh_hooks(struct door_calls *d, struct mesh_hooks *out);

#endif
