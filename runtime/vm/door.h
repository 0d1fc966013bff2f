/* door.h - requests of back ends, as the agent hands them to a worker. */
#ifndef SD_VM_DOOR_H
#define SD_VM_DOOR_H

#include <lua.h>
#include <stdint.h>

struct doors;
struct mesh_msg;
struct vm;
struct vms;

struct doors *doors_new(struct vms *all);
void doors_free(struct doors **dp);

/* MSG_DOOR: a coroutine of ours answers it. */
void doors_on_msg(struct vm *vm, const struct mesh_msg *m);

/* That process is gone: its requests go on, their answers go nowhere. */
void doors_on_gone(struct vms *all, unsigned slot, uint16_t epoch);

void bind_door(lua_State *L);

#endif
