/* bind_conn.c - conns for lua/sd: packets, sends, closes, uid, session.
 *
 * Scripts know a conn of this process by its handle: the low 40 bits of its
 * id, exact in a Lua number; slot and epoch are ours.  A stale handle finds
 * nothing, and the call answers nil, "gone". */
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/push.h"
#include "vm/decode.h"
#include "vm/deliver.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"

#define HANDLE_BITS 40
#define HANDLE_MASK ((UINT64_C(1) << HANDLE_BITS) - 1)

double vm_handle(const struct conn *c)
{
    return (double)(conn_id(c) & HANDLE_MASK);
}

static uint64_t full_id(const struct vm *vm, uint64_t handle)
{
    return (uint64_t)vm->env.slot << 56 |
           (uint64_t)(vm->env.epoch & 0xffff) << HANDLE_BITS | handle;
}

/* The conn that a running call serves stays readable after it has closed,
 * until on_close has ended, for the call's children too: the root holds it. */
static struct conn *conn_of_call(struct vm *vm, uint64_t handle)
{
    const struct co *co = vm->cos.current;

    if (co != NULL && co->arg == NULL)
        co = co_by_id(vm, co->root);
    return co != NULL && co->conn == handle ? co->arg : NULL;
}

struct conn *vm_find_conn(struct vm *vm, uint64_t handle)
{
    struct conn *c = conn_of_call(vm, handle);

    if (c == NULL && vm->env.net != NULL)
        c = net_find(vm->env.net, full_id(vm, handle));
    return c;
}

struct conn *vm_conn(lua_State *L, int idx)
{
    return vm_find_conn(vm_of(L), (uint64_t)luaL_checknumber(L, idx));
}

/* nil, word */
static int fail(lua_State *L, int err)
{
    lua_pushnil(L);
    lua_pushstring(L, err_word(err));
    return 2;
}

static int answer(lua_State *L, int rc)
{
    if (rc < 0)
        return fail(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

void vm_unsend(struct vm *vm)
{
    if (vm->sending != NULL) {
        conn_send_abort(vm->sending);
        vm->sending = NULL;
    }
}

/* core.packet() -> value, or nil, why */
static int l_packet(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *why;

    if (vm->packet_conn == NULL)
        return luaL_error(L, "no packet at hand");
    if (pack_decode(L, vm_pack_of(vm, vm->packet_conn), vm->packet, &why) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    return 1;
}

static int send_script(lua_State *L, const struct vm_pack *p, struct conn *c,
                       int idx)
{
    size_t len;
    const char *s;

    lua_rawgeti(L, LUA_REGISTRYINDEX, p->encode);
    lua_pushvalue(L, idx);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
        return co_raise(L, "cannot send: the pack's encode() gave no string");
    s = lua_tolstring(L, -1, &len);
    return conn_send(c, slice_make(s, len));
}

static int send_value(lua_State *L, struct conn *c, int idx)
{
    struct vm *vm = vm_of(L);
    const struct vm_pack *p = vm_pack_of(vm, c);
    const char *why = "";
    struct buf *out;
    int rc;

    vm_unsend(vm);
    if (p->kind == PACK_SCRIPT)
        return send_script(L, p, c, idx);
    rc = conn_send_begin(&out, c);
    if (rc < 0)
        return rc;
    vm->sending = c;
    rc = pack_encode(L, p, idx, out, &why);
    if (rc < 0) {
        vm_unsend(vm);
        return co_raise(L, "cannot send: %s", why);
    }
    vm->sending = NULL;
    return conn_send_commit(c);
}

/* core.send(handle, value) -> true, or nil, word; raises what cannot be
 * encoded.  A conn that still speaks HTTP is "gone". */
static int l_send(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);
    int rc;

    if (c == NULL || !conn_is_open(c) || conn_protocol(c) == CONN_HTTP)
        return fail(L, SD_EGONE);
    rc = send_value(L, c, 2);
    if (rc == SD_EINVALID)
        return co_raise(L, "cannot send: the packet does not fit its frame");
    return answer(L, rc);
}

/* Where it can be dropped, replaced or left out. */
static int send_push(lua_State *L, struct conn *c)
{
    int rc;

    vm_unsend(vm_of(L));
    rc = vm_push(L, c, 2);
    if (rc == SD_EINVALID)
        return co_raise(L, "cannot send: the packet does not fit its frame");
    return answer(L, rc);
}

/* core.push(handle, value, nil, volatile, conflate): as core.send(), for what
 * is no reply; a client that has shut its side is owed replies only */
static int l_push(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);

    if (c != NULL && conn_is_half_closed(c))
        return fail(L, SD_EGONE);
    if (c != NULL && conn_is_open(c) && conn_protocol(c) != CONN_HTTP &&
        (lua_gettop(L) > 2 || conn_needs_push(c)))
        return send_push(L, c);
    return l_send(L);
}

/* core.close(handle, reason, code) */
static int l_close(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);
    const char *reason = luaL_optstring(L, 2, "closed");

    deliver_check_idle(L);
    if (c == NULL || !conn_is_open(c))
        return fail(L, SD_EGONE);
    vm_unsend(vm_of(L));
    vm_shut(vm_of(L), c, reason, (int)luaL_optinteger(L, 3, 0));
    return answer(L, 0);
}

/* core.conn_id(handle) -> text: boot id and conn id in hexadecimal */
static int l_conn_id(lua_State *L)
{
    struct vm *vm = vm_of(L);
    uint64_t handle = (uint64_t)luaL_checknumber(L, 1);
    char text[40];

    snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, vm->env.boot,
             full_id(vm, handle));
    lua_pushstring(L, text);
    return 1;
}

bool vm_conn_id(struct vm_conn_id *out, lua_State *L, int idx)
{
    size_t len;
    const char *text = luaL_checklstring(L, idx, &len);
    char half[17] = "";

    if (len != 32 || strspn(text, "0123456789abcdef") != 32)
        return false;
    memcpy(half, text, 16);
    out->boot = strtoull(half, NULL, 16);
    out->id = strtoull(text + 16, NULL, 16);
    return true;
}

/* core.handle(conn_id) -> handle; nil: not a conn of this process */
static int l_handle(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct vm_conn_id id;

    if (!vm_conn_id(&id, L, 1) || id.boot != vm->env.boot ||
        id.id != full_id(vm, id.id & HANDLE_MASK))
        return 0;
    lua_pushnumber(L, (double)(id.id & HANDLE_MASK));
    return 1;
}

/* core.peer(handle) -> address, port */
static int l_peer(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);
    char address[CONN_ADDRESS];
    unsigned port;

    if (c == NULL)
        return 0;
    port = conn_peer(c, address);
    lua_pushstring(L, address);
    lua_pushinteger(L, (lua_Integer)port);
    return 2;
}

/* core.uid(handle) -> uid or nil */
static int l_uid(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);
    struct slice uid = {NULL, 0};

    if (c != NULL)
        uid = conn_uid(c);
    if (uid.len == 0)
        return 0;
    lua_pushlstring(L, uid.p, uid.len);
    return 1;
}

/* core.session(handle) -> the stored table, or nil */
static int l_session(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);
    struct slice s = {NULL, 0};
    const char *why;

    if (c != NULL)
        s = conn_session(c);
    if (s.len == 0)
        return 0;
    if (decode_msgpack(L, s, &why) < 0)
        return luaL_error(L, "session of a conn is unreadable: %s", why);
    return 1;
}

/* core.set_session(handle, table) -> true, or nil, word; raises what is no
 * plain data */
static int l_set_session(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct conn *c = vm_conn(L, 1);
    uint64_t max = vm->env.conf->server.session_max;
    const char *why;

    if (c == NULL)
        return fail(L, SD_EGONE);
    buf_consume(&vm->scratch, vm->scratch.len);
    if (lua_isnil(L, 2)) { /* forget it */
        conn_set_session(c, slice_make("", 0));
        return answer(L, 0);
    }
    if (lua_msgpack_encode(L, 2, &vm->scratch, &why) < 0)
        return co_raise(L, "session: %s", why);
    if (max > 0 && vm->scratch.len > max)
        return fail(L, SD_ETOOLARGE);
    conn_set_session(c, buf_slice(&vm->scratch));
    return answer(L, 0);
}

/* core.keep(handle): call the close entry for it, also without a hook */
static int l_keep(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);

    if (c != NULL)
        conn_set_mark(c, conn_mark(c) | VM_MARK_STATE);
    return 0;
}

/* core.close_reason(handle) -> word or own text; nil: not closed */
static int l_close_reason(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);
    const char *reason = vm_of(L)->bye_reason;

    if (c != NULL && vm_close_reason(c) != NULL)
        reason = vm_close_reason(c);
    if (c == NULL || reason == NULL)
        return 0;
    lua_pushstring(L, reason);
    return 1;
}

/* core.route_of(handle) -> port number * 2, + 1 for a WebSocket; nil: HTTP or
 * gone */
static int l_route_of(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);

    if (c == NULL || conn_protocol(c) == CONN_HTTP)
        return 0;
    lua_pushinteger(L, (lua_Integer)(conn_port(c) + 1) * 2 +
                           (conn_protocol(c) == CONN_WS));
    return 1;
}

/* core.is_open(handle) */
static int l_is_open(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);

    lua_pushboolean(L, c != NULL && conn_is_open(c));
    return 1;
}

/* core.conns() -> handles of all conns of this worker */
static int l_conns(lua_State *L)
{
    struct vm *vm = vm_of(L);
    uint32_t cursor = 0;
    int n = 0;
    struct conn *c;

    lua_newtable(L);
    while (vm->env.net != NULL &&
           (c = net_next(vm->env.net, &cursor)) != NULL) {
        lua_pushnumber(L, vm_handle(c));
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* core.call_uid() -> uid of the conn that the running call serves, or nil */
static int l_call_uid(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct co *co = vm->cos.current;
    struct slice uid = {NULL, 0};
    struct conn *c = NULL;

    if (co != NULL && co->conn != 0)
        c = vm_find_conn(vm, co->conn);
    if (c != NULL)
        uid = conn_uid(c);
    if (uid.len == 0)
        return 0;
    lua_pushlstring(L, uid.p, uid.len);
    return 1;
}

static const luaL_Reg functions[] = {
    {"packet", l_packet},
    {"send", l_send},
    {"push", l_push},
    {"close", l_close},
    {"conn_id", l_conn_id},
    {"handle", l_handle},
    {"peer", l_peer},
    {"uid", l_uid},
    {"session", l_session},
    {"set_session", l_set_session},
    {"keep", l_keep},
    {"close_reason", l_close_reason},
    {"route_of", l_route_of},
    {"is_open", l_is_open},
    {"conns", l_conns},
    {"call_uid", l_call_uid},
    {NULL, NULL},
};

void bind_conn(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
