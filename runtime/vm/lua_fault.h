/* lua_fault.h - what an encoder could not encode, and where in the value. */
#ifndef SD_VM_LUA_FAULT_H
#define SD_VM_LUA_FAULT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    LUA_FAULT_WHAT = 80,
    LUA_FAULT_PATH = 120,
    LUA_FAULT_TEXT = LUA_FAULT_WHAT + LUA_FAULT_PATH + 12
};

struct lua_fault {
    char what[LUA_FAULT_WHAT];
    char path[LUA_FAULT_PATH]; /* filled from its end, innermost key first */
    size_t at;                 /* where the path begins */
    bool is_cut;               /* its outer end had no room */
    char text[LUA_FAULT_TEXT];
};

/* A fault with an empty path: "cannot encode a function".  Always returns
 * SD_EINVALID, so that finders can return it. */
__attribute__((format(printf, 2, 3))) int lua_fault_set(struct lua_fault *f,
                                                        const char *what, ...);

/* On the way out: the fault is below the key at `idx`, which may not be
 * changed (it belongs to a lua_next), or below item `i` of a list. */
void lua_fault_key(struct lua_fault *f, lua_State *L, int idx);
void lua_fault_item(struct lua_fault *f, size_t i);

/* The whole sentence, inside `f`: "cannot encode a function at .a[2]". */
const char *lua_fault_text(struct lua_fault *f);

#endif
