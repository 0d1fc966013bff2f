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

struct frames_data;
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

/* MSG_FAR_CALL.  0: it is answered by a message of its own; or why it was not
 * begun. */
int uidcalls_take_far(struct vm *vm, const struct frames_data *d);

/* Of enum msg_uid_verb, for luaL_checkoption(). */
extern const char *const uidcall_verbs[];

void bind_uidcall(lua_State *L);
void bind_uidcall_serve(lua_State *L); /* uidcall_serve.c */

#endif
