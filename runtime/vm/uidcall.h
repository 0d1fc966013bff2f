/* uidcall.h - calls that another worker answers: deliveries and questions to
 * its uids, what their conns listen to.
 *
 * The caller's half keeps its unanswered calls where vm/task.c does.  The half
 * that is called runs lua/sd/uidcall.lua, and answers each call once. */
#ifndef SD_VM_UIDCALL_H
#define SD_VM_UIDCALL_H

#include <lua.h>
#include <stdint.h>

#include "base/list.h"

struct mesh_msg;
struct vm;

struct uidcalls {
    struct list open; /* calls of others that are not answered */
};

void uidcalls_init(struct uidcalls *u);
void uidcalls_fini(struct uidcalls *u);

/* A process has died: nobody waits for the answers to its calls. */
void uidcalls_on_gone(struct uidcalls *u, unsigned slot, uint16_t epoch);

/* MSG_UID_CALL */
void uidcalls_take(struct vm *vm, const struct mesh_msg *m);

void bind_uidcall(lua_State *L);

#endif
