/* binds.c - lets specs call bindings that need no vm: a Lua module,
 * `sdbinds`, with what scripts know as sd.bytes and sd.crypto. */
#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>
#include <stdlib.h>

#include "vm/state.h"

int luaopen_sdbinds(lua_State *L);

/* The vm's own puts the script's line in front; here there is no script. */
int co_raise(lua_State *L, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    lua_pushvfstring(L, fmt, ap);
    va_end(ap);
    lua_error(L);
    abort(); /* lua_error() does not return */
}

int luaopen_sdbinds(lua_State *L)
{
    lua_newtable(L);
    bind_bytes(L);
    bind_crypto(L);
    return 1;
}
