/* pack.c - packets to Lua values and back, by the codec of a port.
 *
 * The codecs built in go straight between bytes and the Lua stack.  A pack of
 * the application is two Lua functions on strings; they may not wait, which
 * holds by itself as they are called from C. */
#include <lauxlib.h>
#include <lua.h>

#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/conn.h"
#include "vm/decode.h"
#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"

static const struct vm_pack built_in[] = {
    {.kind = PACK_JSON, .id = PACK_JSON},
    {.kind = PACK_MSGPACK, .id = PACK_MSGPACK},
    {.kind = PACK_RAW, .id = PACK_RAW},
};

static const char why_gone[] = "the script of its pack is gone";

/* Of a conn whose script is gone: nothing can be read or written. */
static const struct vm_pack gone = {
    .kind = PACK_GONE,
    .id = PACK_GONE,
    .length = LUA_REFNIL,
};

void packs_add(struct vm_packs *packs, const char *name,
               const struct vm_pack *p)
{
    unsigned n = packs->n + 1;

    packs->at = mem_realloc(packs->at, n * sizeof(*packs->at));
    packs->name = mem_realloc(packs->name, n * sizeof(*packs->name));
    packs->at[n - 1] = *p;
    packs->name[n - 1] = mem_dup(name, strlen(name));
    packs->n = n;
}

void packs_fini(struct vm_packs *packs)
{
    for (unsigned i = 0; i < packs->n; i++)
        mem_free(packs->name[i]);
    mem_free(packs->name);
    mem_free(packs->at);
}

static bool is_codec(const char *a, const char *b)
{
    return strcmp(a, b != NULL ? b : "json") == 0;
}

const struct vm_pack *pack_by_name(struct vm *vm, const char *codec)
{
    static const char *const names[] = {"json", "msgpack", "raw"};
    const struct conf *conf = vm->env.conf;
    unsigned i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (is_codec(names[i], codec))
            return &built_in[i];
    }
    for (i = 0; i < vm->nports; i++) {
        if (is_codec(codec, conf->ports[i].codec))
            return &vm->ports[i].pack[0];
        if (is_codec(codec, conf->ports[i].websocket.codec))
            return &vm->ports[i].pack[1];
    }
    for (i = 0; i < vm->packs.n; i++) {
        if (is_codec(codec, vm->packs.name[i]))
            return &vm->packs.at[i];
    }
    return NULL;
}

const struct vm_pack *vm_pack_of(struct vm *vm, const struct conn *c)
{
    const struct vm_port *port = &vm->ports[conn_port(c)];
    const struct vm_pack *p;

    if (conn_format(c) == port->format)
        return &port->pack[conn_protocol(c) == CONN_WS];
    p = pack_by_name(vm, conn_codec(c)); /* it was accepted before a reload */
    return p != NULL ? p : &gone;
}

/* decode(bytes) -> packet, or nil, err */
static int script_decode(lua_State *L, const struct vm_pack *p, struct slice s,
                         const char **why)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->decode);
    decode_raw(L, s);
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
        return decode_json(L, s, why);
    case PACK_MSGPACK:
        return decode_msgpack(L, s, why);
    case PACK_RAW:
        return decode_raw(L, s);
    case PACK_GONE:
        *why = why_gone;
        return SD_EINVALID;
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
    case PACK_GONE:
        *why = why_gone;
        return SD_EINVALID;
    case PACK_SCRIPT: /* gives a Lua string: send_script() */
        break;
    }
    sd_assert(!"encoded by a script");
    return SD_EINVALID;
}
