/* event.h - what scripts emit to scripts: to the handlers of all workers.
 *
 * An event is handled by whichever vm serves when its turn comes, so that
 * while one vm takes over from another each event is one vm's.  Events of one
 * emitter stay in order.  Where handlers are too slow, or a switch takes too
 * long, a bounded number waits. */
#ifndef SD_VM_EVENT_H
#define SD_VM_EVENT_H

#include <lua.h>
#include <stdbool.h>

#include "base/slice.h"

struct events;
struct vms;

struct events *events_new(struct vms *all);
void events_free(struct events **ep);

/* The body of MSG_EVENT, of another process of our node, or of another node.
 * 0 or an error code. */
void events_take(struct events *e, struct slice body);
int events_take_far(struct events *e, struct slice body);

/* Let the serving vm handle what waits; true if it was told.  Once a turn. */
bool events_turn(struct events *e);

/* Another vm serves. */
void events_switched(struct events *e);

/* Add core.emit(), core.next_event() and the like to the table on top of the
 * stack. */
void bind_event(lua_State *L);

#endif
