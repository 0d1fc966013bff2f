/* lua_value.c - see lua_value.h.
 *
 * The marker is an empty metatable in the registry, under the address of a
 * static: no name that a script could reach by accident.
 *
 * Whether a table is a list is found out by visiting all its keys: the length
 * operator alone would miss keys beside the list part and take any border of
 * a table with holes.  The usual map ends the walk at its first key. */
#include "vm/lua_value.h"

static const char array_key;

static void *array_ref(void)
{
    union {
        const char *in;
        void *out;
    } u = {&array_key};

    return u.out;
}

void lua_value_array_mt(lua_State *L)
{
    lua_pushlightuserdata(L, array_ref());
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "sd.array");
    lua_setfield(L, -2, "__name");
    lua_pushlightuserdata(L, array_ref());
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void lua_value_new_list(lua_State *L, int hint)
{
    lua_createtable(L, hint, 0);
    lua_value_array_mt(L);
    lua_setmetatable(L, -2);
}

void lua_value_push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
}

bool lua_value_is_null(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TLIGHTUSERDATA &&
           lua_touserdata(L, idx) == NULL;
}

/* Is the table at `idx` marked? */
static bool is_marked(lua_State *L, int idx)
{
    bool same;

    if (!lua_getmetatable(L, idx))
        return false;
    lua_value_array_mt(L);
    same = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return same;
}

bool lua_value_is_integer(lua_State *L, int idx, int64_t *n)
{
    double x;

    if (lua_type(L, idx) != LUA_TNUMBER)
        return false;
    x = lua_tonumber(L, idx);
    if (!(x >= -LUA_VALUE_INT_MAX && x <= LUA_VALUE_INT_MAX) ||
        x != (double)(int64_t)x)
        return false;
    *n = (int64_t)x;
    return true;
}

bool lua_value_is_list(lua_State *L, int idx, size_t *n)
{
    int64_t key, max = 0, count = 0;

    if (idx < 0 && idx > LUA_REGISTRYINDEX)
        idx += lua_gettop(L) + 1;
    lua_pushnil(L);
    while (lua_next(L, idx) != 0) {
        lua_pop(L, 1);
        if (!lua_value_is_integer(L, -1, &key) || key < 1) {
            lua_pop(L, 1);
            return false;
        }
        if (key > max)
            max = key;
        count++;
    }
    if (count != max || (count == 0 && !is_marked(L, idx)))
        return false;
    *n = (size_t)count;
    return true;
}
