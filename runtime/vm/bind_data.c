/* bind_data.c - JSON and MessagePack for scripts, lists and null. */
#include <lauxlib.h>
#include <lua.h>

#include "vm/decode.h"
#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"
#include "vm/lua_value.h"
#include "vm/state.h"

typedef int decode_fn(lua_State *L, struct slice s, const char **why);
typedef int encode_fn(lua_State *L, int idx, struct buf *out, const char **why);

static int decode(lua_State *L, decode_fn *fn)
{
    struct slice s;
    const char *why;

    s.p = luaL_checklstring(L, 1, &s.len);
    if (fn(L, s, &why) < 0) {
        lua_pushnil(L);
        lua_pushfstring(L, "invalid: %s", why);
        return 2;
    }
    return 1;
}

static int encode(lua_State *L, encode_fn *fn)
{
    struct vm *vm = vm_of(L);
    const char *why;

    lua_settop(L, 1);
    buf_consume(&vm->scratch, vm->scratch.len);
    if (fn(L, 1, &vm->scratch, &why) < 0)
        return co_raise(L, "cannot encode: %s", why);
    lua_pushlstring(L, buf_slice(&vm->scratch).p, vm->scratch.len);
    return 1;
}

static int l_json_decode(lua_State *L)
{
    return decode(L, decode_json);
}

static int l_json_encode(lua_State *L)
{
    return encode(L, lua_json_encode);
}

static int l_msgpack_decode(lua_State *L)
{
    return decode(L, decode_msgpack);
}

static int l_msgpack_encode(lua_State *L)
{
    return encode(L, lua_msgpack_encode);
}

/* core.array([list]) -> the list, marked; a new one without argument */
static int l_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_value_new_list(L, 0);
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_value_array_mt(L);
    lua_setmetatable(L, 1);
    return 1;
}

static const luaL_Reg functions[] = {
    {"json_decode", l_json_decode},
    {"json_encode", l_json_encode},
    {"msgpack_decode", l_msgpack_decode},
    {"msgpack_encode", l_msgpack_encode},
    {"array", l_array},
    {NULL, NULL},
};

void bind_data(lua_State *L)
{
    luaL_register(L, NULL, functions);
    lua_value_push_null(L);
    lua_setfield(L, -2, "null");
}
