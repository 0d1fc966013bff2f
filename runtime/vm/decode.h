/* decode.h - bytes of clients and of other processes, made Lua values.
 *
 * As lua_json.h and lua_msgpack.h have it, but where garbage of before is what
 * leaves too little memory, it is collected, and the value made all the same. */
#ifndef SD_VM_DECODE_H
#define SD_VM_DECODE_H

#include <lua.h>

#include "base/slice.h"

/* Push the value: 0; or SD_EINVALID and *why, with nothing pushed.  Raises "not
 * enough memory", but only behind a collection. */
int decode_json(lua_State *L, struct slice s, const char **why);
int decode_msgpack(lua_State *L, struct slice s, const char **why);

#endif
