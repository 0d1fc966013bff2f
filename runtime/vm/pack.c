/* pack.c - packets to Lua values and back, by the codec of a port.
 *
 * The codecs built in go straight between bytes and the Lua stack.  A pack of
 * the application is two Lua functions on strings; they may not wait, which
 * holds by itself as they are called from C. */
#include <lauxlib.h>
#include <lua.h>

#include "base/assert.h"
#include "base/err.h"
#include "net/conn.h"
#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"

const struct vm_pack *vm_pack_of(struct vm *vm, const struct conn *c)
{
    return &vm->ports[conn_port(c)].pack[conn_protocol(c) == CONN_WS];
}

/* decode(bytes) -> packet, or nil, err */
static int script_decode(lua_State *L, const struct vm_pack *p, struct slice s,
                         const char **why)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->decode);
    lua_pushlstring(L, s.p, s.len);
    lua_call(L, 1, 2);
    if (lua_isnil(L, -2)) {
        *why = lua_isstring(L, -1) ? lua_tostring(L, -1) : "unreadable packet";
        lua_remove(L, -2); /* the text stays on the stack, and so alive */
        return SD_EINVALID;
    }
    lua_pop(L, 1);
    return 0;
}

int pack_decode(lua_State *L, const struct vm_pack *p, struct slice s,
                const char **why)
{
    switch (p->kind) {
    case PACK_JSON:
        return lua_json_decode(L, s, why);
    case PACK_MSGPACK:
        return lua_msgpack_decode(L, s, why);
    case PACK_RAW:
        lua_pushlstring(L, s.p, s.len);
        return 0;
    case PACK_SCRIPT:
        break;
    }
    return script_decode(L, p, s, why);
}

static int append_string(lua_State *L, int idx, struct buf *out,
                         const char **why)
{
    size_t len;
    const char *s;

    if (lua_type(L, idx) != LUA_TSTRING) {
        *why = "a string is needed here";
        return SD_EINVALID;
    }
    s = lua_tolstring(L, idx, &len);
    buf_append(out, s, len);
    return 0;
}

int pack_encode(lua_State *L, const struct vm_pack *p, int idx, struct buf *out,
                const char **why)
{
    switch (p->kind) {
    case PACK_JSON:
        return lua_json_encode(L, idx, out, why);
    case PACK_MSGPACK:
        return lua_msgpack_encode(L, idx, out, why);
    case PACK_RAW:
        return append_string(L, idx, out, why);
    case PACK_SCRIPT: /* gives a Lua string: send_script() */
        break;
    }
    sd_assert(!"encoded by a script");
    return SD_EINVALID;
}
