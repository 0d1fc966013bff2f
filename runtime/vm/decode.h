/* decode.h - bytes of clients and of other processes, made Lua values.
 *
 * As lua_json.h and lua_msgpack.h have it, but where it is for garbage that
 * there is too little memory, that is collected, and the value made after all
 * (garbage_attempt()).  For all bodies that a vm takes; the two others are for
 * the runtime's own, and for where there is no vm. */
#ifndef SD_VM_DECODE_H
#define SD_VM_DECODE_H

#include <lua.h>

#include "base/slice.h"

/* Push the value: 0; or SD_EINVALID and *why, with nothing pushed.  `s` is
 * borrowed, and must outlive what scripts do when their values are finalized.
 * Raises nothing but "not enough memory". */
int decode_json(lua_State *L, struct slice s, const char **why);
int decode_msgpack(lua_State *L, struct slice s, const char **why);

/* Push the bytes themselves: 0. */
int decode_raw(lua_State *L, struct slice s);

#endif
