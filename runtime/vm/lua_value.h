/* lua_value.h - what plain data is on the Lua side: null, lists and maps.
 *
 * `sd.null` is the light userdata NULL.  A list that the runtime made carries
 * a marker metatable, so that it stays a list when it is emptied. */
#ifndef SD_VM_LUA_VALUE_H
#define SD_VM_LUA_VALUE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LUA_VALUE_DEPTH = 64,              /* tables within tables */
    LUA_VALUE_BYTES = 64 * 1024 * 1024 /* of an encoded value, about */
};

/* Integers up to here are numbers; larger ones become strings of digits. */
#define LUA_VALUE_INT_MAX 9007199254740992.0

/* Push the marker metatable of lists, one per vm. */
void lua_value_array_mt(lua_State *L);

/* Push a new, marked, empty list with room for `hint` items. */
void lua_value_new_list(lua_State *L, int hint);

/* Push sd.null. */
void lua_value_push_null(lua_State *L);

bool lua_value_is_null(lua_State *L, int idx);

/* Is the value at `idx` a whole number of at most 2^53?  Then it is *n. */
bool lua_value_is_integer(lua_State *L, int idx, int64_t *n);

/* Does the table at `idx` count as a list?  Its keys are 1..n with n > 0, or
 * it is empty and marked.  *n is its length then.  Never calls metamethods;
 * needs two free places on the stack. */
bool lua_value_is_list(lua_State *L, int idx, size_t *n);

#endif
