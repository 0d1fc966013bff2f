/* values.c - lets specs call the codecs of the Lua stack: a Lua module,
 * `sdvalues`, that is loaded into the luajit that runs busted.
 *
 * Each function answers as the framework's own do: a result, or nil and the
 * reason.  The output buffer is static so that a raise cannot lose it. */
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"
#include "vm/lua_value.h"

int luaopen_sdvalues(lua_State *L);

static struct buf out;

typedef int decoder(lua_State *L, struct slice s, const char **why);
typedef int encoder(lua_State *L, int idx, struct buf *b, const char **why);

static int decode(lua_State *L, decoder *f)
{
    size_t len;
    const char *why = NULL, *p = luaL_checklstring(L, 1, &len);
    int top = lua_gettop(L);

    if (f(L, slice_make(p, len), &why) == 0)
        return 1;
    if (lua_gettop(L) != top)
        return luaL_error(L, "the stack was not put back");
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int encode(lua_State *L, encoder *f)
{
    const char *why = NULL;
    int top;

    luaL_checkany(L, 1);
    lua_settop(L, 1);
    top = lua_gettop(L);
    buf_truncate(&out, 0);
    buf_append_str(&out, "before");
    if (f(L, -1, &out, &why) == 0) {
        if (lua_gettop(L) != top)
            return luaL_error(L, "the stack was not put back");
        lua_pushlstring(L, out.p + 6, out.len - 6);
        return 1;
    }
    if (lua_gettop(L) != top || out.len != 6)
        return luaL_error(L, "stack or buffer was not put back");
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int json_decode(lua_State *L)
{
    return decode(L, lua_json_decode);
}

static int json_encode(lua_State *L)
{
    return encode(L, lua_json_encode);
}

static int msgpack_decode(lua_State *L)
{
    return decode(L, lua_msgpack_decode);
}

static int msgpack_encode(lua_State *L)
{
    return encode(L, lua_msgpack_encode);
}

static int array(lua_State *L)
{
    lua_value_new_list(L, 0);
    return 1;
}

/* time(name, value, n): nanoseconds of one call, over `n` of them. */
static int time_codec(lua_State *L)
{
    static const char *const names[] = {
        "json_decode", "json_encode", "msgpack_decode", "msgpack_encode", NULL};
    static decoder *const decoders[] = {lua_json_decode, NULL,
                                        lua_msgpack_decode};
    static encoder *const encoders[] = {NULL, lua_json_encode, NULL,
                                        lua_msgpack_encode};
    int which = luaL_checkoption(L, 1, NULL, names);
    int i, n = (int)luaL_checkinteger(L, 3);
    struct slice s = {"", 0};
    const char *why;
    uint64_t start;

    if (which % 2 == 0)
        s.p = luaL_checklstring(L, 2, &s.len);
    start = clock_ns();
    for (i = 0; i < n; i++) {
        buf_truncate(&out, 0);
        if (which % 2 == 0)
            (void)decoders[which](L, s, &why);
        else
            (void)encoders[which](L, 2, &out, &why);
        lua_settop(L, 3);
    }
    lua_pushnumber(L, (double)(clock_ns() - start) / n);
    return 1;
}

/* An allocator whose `left`th new block and all later ones fail. */
static void *starving(void *ud, void *p, size_t osize, size_t nsize)
{
    long *left = ud;

    (void)osize;
    if (nsize == 0) {
        free(p);
        return NULL;
    }
    if (--*left < 0)
        return NULL;
    return realloc(p, nsize);
}

/* In a starving state: the bytes to a value and the value to bytes. */
static int there_and_back(lua_State *L)
{
    const struct slice *s = lua_touserdata(L, 1);
    bool json = lua_toboolean(L, 2) != 0;
    const char *why = NULL;

    if ((json ? lua_json_decode : lua_msgpack_decode)(L, *s, &why) < 0)
        return luaL_error(L, "%s", why);
    buf_truncate(&out, 0);
    if ((json ? lua_json_encode : lua_msgpack_encode)(L, -1, &out, &why) < 0)
        return luaL_error(L, "%s", why);
    return 0;
}

/* starve(bytes, is_json): decode and encode with memory for 0, 1, 2 ... more
 * blocks until it succeeds; how often it did not. */
static int starve(lua_State *L)
{
    struct slice s;
    long left, tries;
    int err = LUA_ERRMEM;

    s.p = luaL_checklstring(L, 1, &s.len);
    for (tries = 0; err == LUA_ERRMEM; tries++) {
        lua_State *poor;

        left = LONG_MAX;
        poor = lua_newstate(starving, &left);
        lua_pushcfunction(poor, there_and_back);
        lua_pushlightuserdata(poor, &s);
        lua_pushboolean(poor, lua_toboolean(L, 2));
        left = tries;
        err = lua_pcall(poor, 2, 0, 0);
        left = LONG_MAX;
        lua_close(poor);
    }
    if (err != 0)
        return luaL_error(L, "not an error of memory");
    lua_pushnumber(L, (lua_Number)(tries - 1));
    return 1;
}

int luaopen_sdvalues(lua_State *L)
{
    static const luaL_Reg functions[] = {{"json_decode", json_decode},
                                         {"json_encode", json_encode},
                                         {"msgpack_decode", msgpack_decode},
                                         {"msgpack_encode", msgpack_encode},
                                         {"array", array},
                                         {"time", time_codec},
                                         {"starve", starve},
                                         {NULL, NULL}};

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_value_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
