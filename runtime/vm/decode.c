/* decode.c - see decode.h.
 *
 * Lua collects while it makes values, but not fast enough for one that needs
 * much at once, and where it is refused memory it gives up.  One packet of
 * 200 KB makes 10 MB of tables.  So what may need more than there is runs
 * protected, and again behind a collection. */
#include "vm/decode.h"

#include "vm/heap.h"
#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"

/* Bytes of Lua for a byte of input: "[" and "]" become a table. */
#define SWELL 64

typedef int decode_fn(lua_State *L, struct slice s, const char **why);

struct attempt {
    decode_fn *fn;
    struct slice s;
    const char **why;
    int rc;
};

/* pcall'ed */
static int attempt(lua_State *L)
{
    struct attempt *a = lua_touserdata(L, 1);

    a->rc = a->fn(L, a->s, a->why);
    return a->rc < 0 ? 0 : 1;
}

static bool may_be_short(const struct vm *vm, size_t len)
{
    uint64_t limit = vm->env.conf->server.vm_memory;

    return limit > 0 && heap_used(vm->heap) + SWELL * len > limit;
}

static int decode(lua_State *L, decode_fn *fn, struct slice s, const char **why)
{
    struct attempt a = {fn, s, why, 0};
    int status;

    if (!may_be_short(vm_of(L), s.len))
        return fn(L, s, why);
    lua_pushcfunction(L, attempt);
    lua_pushlightuserdata(L, &a);
    status = lua_pcall(L, 1, 1, 0);
    if (status == LUA_ERRMEM) {
        lua_pop(L, 1);
        garbage_make_room(L);
        return fn(L, s, why);
    }
    if (status != 0)
        return lua_error(L);
    if (a.rc < 0)
        lua_pop(L, 1);
    return a.rc;
}

int decode_json(lua_State *L, struct slice s, const char **why)
{
    return decode(L, lua_json_decode, s, why);
}

int decode_msgpack(lua_State *L, struct slice s, const char **why)
{
    return decode(L, lua_msgpack_decode, s, why);
}
