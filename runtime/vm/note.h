/* note.h - tells the master what Lua is at, when it asks because no heartbeat
 * comes (proc/stall.h). */
#ifndef SD_VM_NOTE_H
#define SD_VM_NOTE_H

#include <lua.h>

struct co;
struct vms;

/* Answer for the vms of this process from now on. */
void note_open(struct vms *a);
void note_close(void);

/* `co` begins to wait: keep which method it is at. */
void note_wait(struct co *co);

/* core.running_method: lua/sd writes the name of a method at [1] before it
 * calls it. */
void bind_note(lua_State *L);

#endif
