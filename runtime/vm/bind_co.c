/* bind_co.c - coroutines for lua/sd: spawn, wait, wake, cancel, sleep.
 *
 * Identities and tickets are numbers in Lua: counter << 20 | index, exact up
 * to 53 bits. */
#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "loop/loop.h"
#include "vm/state.h"

#define INDEX_BITS 20

static double number_of(uint32_t high, uint32_t index)
{
    return (double)((uint64_t)high << INDEX_BITS | index);
}

/* core.running() -> identity of the coroutine of ours that runs, also from
 * inside a script's own coroutine; nil: none */
static int l_running(lua_State *L)
{
    struct co *co = vm_of(L)->cos.current;

    if (co == NULL)
        return 0;
    lua_pushnumber(L, (double)co_id(co));
    return 1;
}

/* core.current() -> identity of the running coroutine, nil: none of ours */
static int l_current(lua_State *L)
{
    struct co *co = co_current(L);

    if (co == NULL)
        return 0;
    lua_pushnumber(L, (double)co_id(co));
    return 1;
}

/* core.root() -> identity of the call that runs; 0: none */
static int l_root(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct co *co = vm->cos.current;

    if (co != NULL && co_by_id(vm, co->root) == NULL)
        co->root = co_id(co); /* a child that outlives its call */
    lua_pushnumber(L, co != NULL ? (double)co->root : 0);
    return 1;
}

/* core.track(id): tell when it ends */
static int l_track(lua_State *L)
{
    struct co *co = co_by_id(vm_of(L), (uint64_t)luaL_checknumber(L, 1));

    if (co != NULL)
        co->tracked = true;
    return 0;
}

/* core.spawn(detached, fn, ...) -> identity */
static int l_spawn(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct co *parent = vm->cos.current, *co;
    bool detached = lua_toboolean(L, 1) != 0 || parent == NULL;
    int n = lua_gettop(L) - 1;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    co = co_take(vm, CO_WORK, detached ? 0 : parent->deadline);
    if (co == NULL)
        return luaL_error(L, "not enough memory");
    if (!co_room(co, n + 1)) {
        co_give_back(co);
        return luaL_error(L, "not enough memory");
    }
    if (!detached) {
        co->root = parent->root;
        co->conn = parent->conn;
    }
    lua_xmove(L, co->L, n);
    if (detached)
        co_later(co, n - 1);
    else
        co_ready(co, n - 1);
    lua_pushnumber(L, (double)co_id(co));
    return 1;
}

/* core.serve(id): wait for its end, as for that of a call */
static int l_serve(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct co *co = co_by_id(vm, (uint64_t)luaL_checknumber(L, 1));

    if (co == NULL || co->kind == CO_CALL)
        return 0;
    co->kind = CO_CALL;
    vm->cos.calls++;
    return 0;
}

/* A call of its own of the function at 1, which is waited for when the node
 * stops or other code takes over. */
static struct co *call(lua_State *L, uint64_t deadline)
{
    struct vm *vm = vm_of(L);
    int n = lua_gettop(L);
    struct co *co;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    co = co_take(vm, CO_CALL, deadline);
    if (co == NULL)
        co_raise(L, "not enough memory");
    if (!co_room(co, n + 1)) {
        co_give_back(co);
        co_raise(L, "not enough memory");
    }
    lua_xmove(L, co->L, n);
    co_ready(co, n - 1);
    return co;
}

/* core.call(fn, ...): as those for clients are, with the deadline of
 * server.call_timeout */
static int l_call(lua_State *L)
{
    struct vm *vm = vm_of(L);

    (void)call(L, loop_now(vm->env.loop) + vm->env.conf->server.call_timeout);
    return 0;
}

/* core.apart(fn, ...) -> identity: of no deadline */
static int l_apart(lua_State *L)
{
    lua_pushnumber(L, (double)co_id(call(L, 0)));
    return 1;
}

/* core.ticket() -> ticket of the next wait of the running coroutine; raises
 * what that wait would raise, so that no ticket is left behind */
static int l_ticket(lua_State *L)
{
    struct ticket t;

    co_may_park(L);
    t = co_next_ticket(co_current(L));
    lua_pushnumber(L, number_of(t.wait, t.index));
    return 1;
}

/* core.wait([ms]): until core.wake(ticket) */
static int l_wait(lua_State *L)
{
    double ms = luaL_optnumber(L, 1, 0);

    if (lua_isnumber(L, 1) && ms < 1)
        ms = 1;
    co_park(L, (uint64_t)ms);
    return co_yield(L);
}

/* core.sleep(ms): as core.wait, for at least a turn of the loop */
static int l_sleep(lua_State *L)
{
    double ms = luaL_checknumber(L, 1);
    uint64_t turn = loop_now(vm_of(L)->env.loop), now = clock_ms();

    /* Timers count from the start of the turn, which may be long ago: a sleep
     * is never shorter than it should be. */
    co_park(L, (ms < 1 ? 1 : (uint64_t)ms) + (now > turn ? now - turn : 0));
    return co_yield(L);
}

/* core.wake(ticket) -> did it wait on that? */
static int l_wake(lua_State *L)
{
    uint64_t n = (uint64_t)luaL_checknumber(L, 1);
    struct ticket t = {(uint32_t)(n & ((1u << INDEX_BITS) - 1)),
                       (uint32_t)(n >> INDEX_BITS)};
    struct co *co = co_wake(vm_of(L), t);

    if (co != NULL)
        co_ready(co, 0);
    lua_pushboolean(L, co != NULL);
    return 1;
}

/* core.cancel(id) */
static int l_cancel(lua_State *L)
{
    struct co *co = co_by_id(vm_of(L), (uint64_t)luaL_checknumber(L, 1));

    if (co != NULL)
        co_cancel(co);
    return 0;
}

/* core.take() -> results of the answer that woke this coroutine */
static int l_take(lua_State *L)
{
    struct co *co = co_current(L);

    if (co == NULL || co->take == NULL)
        return luaL_error(L, "no answer to take");
    return co->take(L, co->answer);
}

/* core.time_left() -> ms until the deadline of the running call, nil: none */
static int l_time_left(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct co *co = vm->cos.current;
    uint64_t now = loop_now(vm->env.loop);

    if (co == NULL || co->deadline == 0)
        return 0;
    lua_pushnumber(L, co->deadline > now ? (double)(co->deadline - now) : 0);
    return 1;
}

/* core.raise(text): at the line of the script that called the framework */
static int l_raise(lua_State *L)
{
    return co_raise(L, "%s", luaL_checkstring(L, 1));
}

static const luaL_Reg functions[] = {
    {"current", l_current},     {"running", l_running}, {"root", l_root},
    {"track", l_track},         {"spawn", l_spawn},     {"call", l_call},
    {"ticket", l_ticket},       {"wait", l_wait},       {"sleep", l_sleep},
    {"wake", l_wake},           {"cancel", l_cancel},   {"take", l_take},
    {"time_left", l_time_left}, {"raise", l_raise},     {"serve", l_serve},
    {"apart", l_apart},         {NULL, NULL},
};

void bind_co(lua_State *L)
{
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, CO_ANSWER);
    lua_setfield(L, -2, "ANSWER");
    lua_pushlightuserdata(L, CO_TIMEOUT);
    lua_setfield(L, -2, "TIMEOUT");
    lua_pushlightuserdata(L, CO_EXPIRED);
    lua_setfield(L, -2, "EXPIRED");
    lua_pushlightuserdata(L, CO_CANCELLED);
    lua_setfield(L, -2, "CANCELLED");
}
