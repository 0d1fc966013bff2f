/* iterate.c - pairs() and next() that are never compiled.
 *
 * LuaJIT 2.1 of March 2022, which Debian 12 has, compiles table traversals
 * and gets them wrong now and then: a loop over pairs() ends early or leaves
 * an element out (LuaJIT issues 827 and 1510).  A server that loses an
 * element of a table once in a million calls is worse than one that needs 25
 * ns for an element instead of 5.
 *
 * The interpreter specialises a loop, and the compiler takes it, only when
 * its iterator is the very `next` of LuaJIT's library.  So scripts get one
 * that is a plain C function.  ipairs() and numeric loops are compiled as
 * ever. */
#include <lauxlib.h>
#include <lua.h>

#include "vm/state.h"

static int l_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (lua_next(L, 1) != 0)
        return 2;
    lua_pushnil(L);
    return 1;
}

static int l_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

void open_iterate(lua_State *L)
{
    lua_pushcfunction(L, l_next);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "next");
    lua_pushcclosure(L, l_pairs, 1);
    lua_setglobal(L, "pairs");
}
