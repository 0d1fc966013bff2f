/* bind_look.c - conns, coroutines, timers and memory for lua/sd/look.lua.
 *
 * All of it is read where it lies, when somebody asks; nothing is counted or
 * noted for this before. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "ipc/mesh.h"
#include "ipc/shtimer.h"
#include "ipc/slots.h"
#include "net/conn.h"
#include "net/figures.h"
#include "net/net.h"
#include "net/push.h"
#include "vm/heap.h"
#include "vm/looks.h"
#include "vm/state.h"

static void set_number(lua_State *L, const char *key, double n)
{
    lua_pushnumber(L, n);
    lua_setfield(L, -2, key);
}

static void set_text(lua_State *L, const char *key, struct slice s)
{
    lua_pushlstring(L, s.p, s.len);
    lua_setfield(L, -2, key);
}

/* --- conns ---------------------------------------------------------------- */

void looks_push_conn(lua_State *L, const struct conn *c)
{
    static const char *const names[] = {
        [CONN_TCP] = "tcp", [CONN_WS] = "ws", [CONN_HTTP] = "http"};
    char address[CONN_ADDRESS];
    struct conn_figures f;

    conn_figures(c, &f);
    lua_createtable(L, 0, 16);
    set_number(L, "handle", vm_handle(c));
    set_text(L, "port", slice_str(conn_conf(c)->name));
    set_text(L, "protocol", slice_str(names[conn_protocol(c)]));
    set_text(L, "uid", conn_uid(c));
    set_number(L, "peer_port", conn_peer(c, address));
    set_text(L, "address", slice_str(address));
    set_number(L, "age", (double)f.age_ms / 1000);
    set_number(L, "idle", (double)f.idle_ms / 1000);
    set_number(L, "bytes", (double)f.bytes);
    set_number(L, "packets_in", f.packets_in);
    set_number(L, "packets_out", f.packets_out);
    set_number(L, "running", f.inflight);
    set_number(L, "waiting", f.waiting);
    set_number(L, "asks", conn_asks(c));
    set_number(L, "unsent", (double)conn_queued(c));
}

static bool has(struct slice s, const char *part, size_t len)
{
    return memmem(s.p, s.len, part, len) != NULL;
}

/* Is the text part of the conn's uid, address or port? */
static bool matches(const struct conn *c, const char *part, size_t len)
{
    char address[CONN_ADDRESS];

    if (len == 0 || has(conn_uid(c), part, len) ||
        has(slice_str(conn_conf(c)->name), part, len))
        return true;
    conn_peer(c, address);
    return has(slice_str(address), part, len);
}

/* core.look_conns(part, max) -> list of those that match, how many match */
static int l_conns(lua_State *L)
{
    struct net *net = vm_of(L)->env.net;
    lua_Integer max = luaL_checkinteger(L, 2);
    uint32_t cursor = 0;
    struct conn *c;
    size_t len;
    const char *part = luaL_checklstring(L, 1, &len);
    int n = 0, found = 0;

    lua_newtable(L);
    while (net != NULL && (c = net_each(net, &cursor)) != NULL) {
        if (!matches(c, part, len))
            continue;
        found++;
        if (n < max && n < LOOKS_MAX) {
            looks_push_conn(L, c);
            lua_rawseti(L, -2, ++n);
        }
    }
    lua_pushinteger(L, found);
    return 2;
}

/* core.look_traffic() -> what all conns have counted, in a map */
static int l_traffic(lua_State *L)
{
    struct net *net = vm_of(L)->env.net;
    const struct net_counters *c;

    lua_newtable(L);
    if (net == NULL)
        return 1;
    c = net_counters(net);
    set_number(L, "conns", net_conns(net));
    set_number(L, "packets_in", (double)(c->packets_in + c->requests));
    set_number(L, "packets_out", (double)(c->packets_out + c->requests));
    set_number(L, "bytes_in", (double)c->bytes_in);
    set_number(L, "bytes_out", (double)c->bytes_out);
    return 1;
}

/* --- coroutines ----------------------------------------------------------- */

static void push_co(lua_State *L, struct co *co, uint64_t now)
{
    static const char *const states[] = {[CO_READY] = "ready",
                                         [CO_RUNNING] = "running",
                                         [CO_WAITING] = "waiting"};

    lua_createtable(L, 0, 8);
    set_number(L, "id", (double)co_id(co));
    set_text(L, "kind", slice_str(co->kind == CO_CALL ? "call" : "work"));
    set_text(L, "state", slice_str(states[co->state]));
    set_number(L, "age", (double)(now - co->began) / 1000);
    if (co->state == CO_WAITING)
        set_number(L, "waits", (double)(now - co->parked) / 1000);
    if (co->deadline != 0)
        set_number(L, "left", ((double)co->deadline - (double)now) / 1000);
    if (co->conn != 0)
        set_number(L, "handle", (double)co->conn);
    lua_rawgeti(L, LUA_REGISTRYINDEX, co->ref);
    lua_setfield(L, -2, "thread");
}

/* core.look_coroutines(max) -> list of those in use, how many are */
static int l_coroutines(lua_State *L)
{
    struct vm *vm = vm_of(L);
    lua_Integer max = luaL_checkinteger(L, 1);
    uint64_t now = loop_now(vm->env.loop);
    int n = 0, found = 0;

    lua_newtable(L);
    for (uint32_t i = 0; i < vm->cos.n; i++) {
        struct co *co = vm->cos.at[i];

        if (co->state == CO_IDLE || co->L == NULL)
            continue;
        found++;
        if (n < max && n < LOOKS_MAX) {
            push_co(L, co, now);
            lua_rawseti(L, -2, ++n);
        }
    }
    lua_pushinteger(L, found);
    return 2;
}

/* --- timers --------------------------------------------------------------- */

static bool is_alive(void *arg, unsigned slot, uint16_t epoch)
{
    const struct vm *vm = arg;

    return slots_is_alive(mesh_slots(vm->env.mesh), slot, epoch) != 0;
}

/* core.look_timer(i) -> runs, is it running?, seconds until it is due (nil:
 * never) */
static int l_timer(lua_State *L)
{
    struct vm *vm = vm_of(L);
    unsigned i = (unsigned)luaL_checkinteger(L, 1) - 1;
    unsigned gen = vm->env.generation;
    struct shtimer_asker who = {.gen = gen,
                                .slot = vm->env.slot,
                                .epoch = (uint16_t)vm->env.epoch,
                                .alive = is_alive,
                                .arg = vm};
    uint64_t due, now = loop_now(vm->env.loop);

    if (vm->env.timers == NULL || i >= vm->env.conf->ntimers ||
        i >= SHTIMER_MAX)
        return 0;
    lua_pushnumber(L, (double)shtimer_runs(vm->env.timers, i, gen));
    lua_pushboolean(L, shtimer_is_running(vm->env.timers, i, &who));
    due = shtimer_due(vm->env.timers, i, gen);
    if (due == SHTIMER_NEVER)
        return 2;
    lua_pushnumber(L, ((double)due - (double)now) / 1000);
    return 3;
}

/* --- memory --------------------------------------------------------------- */

/* core.look_memory() -> bytes and counts that C knows, in a map */
static int l_memory(lua_State *L)
{
    struct vm *vm = vm_of(L);

    lua_newtable(L);
    set_number(L, "used", (double)heap_used(vm->heap));
    set_number(L, "limit", (double)vm->env.conf->server.vm_memory);
    set_number(L, "coroutines", vm->cos.n - vm->cos.nidle);
    set_number(L, "idle_coroutines", vm->cos.nidle);
    if (vm->env.net != NULL) {
        set_number(L, "conns", net_conns(vm->env.net));
        set_number(L, "queues", (double)net_queue_memory(vm->env.net));
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"look_conns", l_conns},           {"look_traffic", l_traffic},
    {"look_coroutines", l_coroutines}, {"look_timer", l_timer},
    {"look_memory", l_memory},         {NULL, NULL},
};

void bind_look(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
