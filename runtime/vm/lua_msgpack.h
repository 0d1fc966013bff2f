/* lua_msgpack.h - MessagePack straight onto and from the Lua stack. */
#ifndef SD_VM_LUA_MSGPACK_H
#define SD_VM_LUA_MSGPACK_H

#include <lua.h>

#include "base/buf.h"
#include "base/slice.h"

/* Push the one value that `s` holds; null at the top pushes nil.  On error
 * (SD_EINVALID) the stack is as it was and *why a text that is valid until
 * the next call here.  `s` is borrowed.
 * Raises nothing but "not enough memory". */
int lua_msgpack_decode(lua_State *L, struct slice s, const char **why);

/* Append the value at `idx` to `out`.  On error (SD_EINVALID) `out` is as
 * it was and *why names what cannot be encoded and where, valid until the
 * next call here.  Raises nothing but "not enough memory", and then `out` may
 * hold a part: who catches that cuts it back. */
int lua_msgpack_encode(lua_State *L, int idx, struct buf *out,
                       const char **why);

#endif
