/* bind_redis.c - Redis for scripts: arguments into commands, replies into
 * values.
 *
 * A vm has one client per configured server.  The tag of a call is the ticket
 * of the coroutine that waits for it; a reply nobody waits for any more is
 * dropped before it becomes a value. */
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/decimal.h"
#include "store/redis.h"
#include "store/resp.h"
#include "vm/lua_value.h"
#include "vm/state.h"

#define INDEX_BITS 20

/* Second argument of core.redis_command(): what is special about it. */
enum redis_flag {
    FLAG_MAP = 1, /* the reply is a list of keys and values */
    FLAG_OWN = 2, /* it may block */
};

/* What wakes a coroutine; borrowed while it takes its results. */
struct answer {
    int err;
    redisReply **replies;
    unsigned n;
};

/* --- replies ------------------------------------------------------------- */

static void push_value(lua_State *L, const redisReply *r);

static void push_integer(lua_State *L, long long n)
{
    char digits[24];

    if (n >= -(1LL << 53) && n <= 1LL << 53) {
        lua_pushnumber(L, (double)n);
        return;
    }
    lua_pushlstring(L, digits, decimal_write_int(digits, n));
}

static void push_failed(lua_State *L, const redisReply *r)
{
    lua_pushliteral(L, "failed: ");
    lua_pushlstring(L, r->str, r->len);
    lua_concat(L, 2);
}

static void push_list(lua_State *L, redisReply *const *items, size_t n)
{
    size_t i;

    luaL_checkstack(L, 4, "reply nested too deeply");
    lua_value_new_list(L, (int)n);
    for (i = 0; i < n; i++) {
        push_value(L, items[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* A value inside a list: nothing is sd.null, an error is {err=}. */
static void push_value(lua_State *L, const redisReply *r)
{
    switch (r->type) {
    case REDIS_REPLY_INTEGER:
        push_integer(L, r->integer);
        break;
    case REDIS_REPLY_ARRAY:
        push_list(L, r->element, r->elements);
        break;
    case REDIS_REPLY_NIL:
        lua_value_push_null(L);
        break;
    case REDIS_REPLY_ERROR:
        lua_createtable(L, 0, 1);
        push_failed(L, r);
        lua_setfield(L, -2, "err");
        break;
    default:
        if (r->type == REDIS_REPLY_STATUS && strcmp(r->str, "OK") == 0)
            lua_pushboolean(L, 1);
        else
            lua_pushlstring(L, r->str, r->len);
    }
}

static int push_error(lua_State *L, int err)
{
    lua_pushnil(L);
    lua_pushstring(L, err_word(err));
    return 2;
}

static int push_reply(lua_State *L, const redisReply *r)
{
    if (r->type == REDIS_REPLY_ERROR) {
        lua_pushnil(L);
        push_failed(L, r);
        return 2;
    }
    if (r->type == REDIS_REPLY_NIL)
        lua_pushnil(L);
    else
        push_value(L, r);
    return 1;
}

static int take_reply(lua_State *L, void *data)
{
    const struct answer *a = data;

    return a->err < 0 ? push_error(L, a->err) : push_reply(L, a->replies[0]);
}

static int take_map(lua_State *L, void *data)
{
    const struct answer *a = data;
    const redisReply *r;
    size_t i;

    if (a->err < 0 || a->replies[0]->type != REDIS_REPLY_ARRAY)
        return take_reply(L, data);
    r = a->replies[0];
    lua_createtable(L, 0, (int)(r->elements / 2));
    for (i = 0; i + 1 < r->elements; i += 2) {
        push_value(L, r->element[i]);
        push_value(L, r->element[i + 1]);
        lua_rawset(L, -3);
    }
    return 1;
}

static int take_list(lua_State *L, void *data)
{
    const struct answer *a = data;

    if (a->err < 0)
        return push_error(L, a->err);
    push_list(L, a->replies, a->n);
    return 1;
}

static void answer(struct vm *vm, uint64_t tag, co_take_fn *take,
                   struct answer *a)
{
    struct ticket t = {(uint32_t)(tag & ((1u << INDEX_BITS) - 1)),
                       (uint32_t)(tag >> INDEX_BITS)};
    struct co *co = co_wake(vm, t);

    if (co != NULL)
        co_answer(co, take, a);
}

static void on_reply(void *arg, uint64_t tag, int err, redisReply **replies,
                     unsigned n)
{
    answer(arg, tag, take_reply, &(struct answer){err, replies, n});
}

static void on_map(void *arg, uint64_t tag, int err, redisReply **replies,
                   unsigned n)
{
    answer(arg, tag, take_map, &(struct answer){err, replies, n});
}

static void on_list(void *arg, uint64_t tag, int err, redisReply **replies,
                    unsigned n)
{
    answer(arg, tag, take_list, &(struct answer){err, replies, n});
}

/* --- commands ------------------------------------------------------------ */

static struct slice number_text(lua_State *L, int idx, char *text)
{
    int64_t n;

    if (lua_value_is_integer(L, idx, &n))
        return slice_make(text, decimal_write_int(text, n));
    return slice_make(text, decimal_write(text, lua_tonumber(L, idx)));
}

/* Append the command in L[first], its name, to the top of the stack. */
static void put_command(lua_State *L, int first, struct buf *out)
{
    int i, top = lua_gettop(L);
    char text[DECIMAL_MAX];
    struct slice s;

    resp_put_head(out, (unsigned)(top - first + 1));
    for (i = first; i <= top; i++) {
        int type = lua_type(L, i);

        if (type == LUA_TSTRING) {
            s.p = lua_tolstring(L, i, &s.len);
        } else if (type == LUA_TNUMBER && isfinite(lua_tonumber(L, i))) {
            s = number_text(L, i, text);
        } else {
            co_raise(L, "bad argument #%d to '%s' (%s)", i - first,
                     lua_tostring(L, first),
                     type == LUA_TNUMBER ? "a finite number expected"
                                         : "a string or number expected");
            return;
        }
        resp_put_arg(out, s.p, s.len);
    }
}

static struct redis *client(lua_State *L)
{
    struct vm *vm = vm_of(L);
    unsigned i = (unsigned)luaL_checkinteger(L, 1);

    luaL_argcheck(L, i < vm->nredis, 1, "no such server");
    return vm->redis[i];
}

/* How long the wait that begins now will be: `ms`, or what the deadline of
 * the running call leaves; 0: as long as it takes. */
static uint64_t time_of(struct vm *vm, uint64_t ms)
{
    const struct co *co = vm->cos.current;
    uint64_t now = loop_now(vm->env.loop), left;

    if (co == NULL || co->deadline == 0)
        return ms;
    left = co->deadline > now ? co->deadline - now : 1;
    return ms == 0 || left < ms ? left : ms;
}

/* Send what is in args; park, or nil, word. */
static int call(lua_State *L, struct redis *r, struct redis_call_args *args)
{
    struct vm *vm = vm_of(L);
    int err = redis_check(r, args->bytes.len, args->n, args->own);
    uint64_t timeout = args->timeout;
    struct ticket t;

    if (err < 0)
        return push_error(L, err);
    args->timeout = time_of(vm, timeout);
    args->arg = vm;
    t = co_park(L, timeout);
    args->tag = (uint64_t)t.wait << INDEX_BITS | t.index;
    err = redis_call(r, args);
    sd_assert(err == 0);
    return co_yield(L);
}

/* core.redis_command(server, flags, block_ms, name, ...): block_ms is what
 * Redis may wait besides, -1: as long as it takes */
static int l_command(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct redis *r = client(L);
    int flags = (int)luaL_checkinteger(L, 2);
    double block = luaL_checknumber(L, 3);
    struct redis_call_args args = {.n = 1, .done = on_reply};

    if ((flags & FLAG_MAP) != 0)
        args.done = on_map;
    args.own = (flags & FLAG_OWN) != 0;
    args.timeout = vm->env.conf->server.call_timeout;
    if (block < 0)
        args.timeout = 0;
    else if (args.timeout > 0)
        args.timeout += (uint64_t)block;
    buf_consume(&vm->scratch, vm->scratch.len);
    put_command(L, 4, &vm->scratch);
    args.bytes = buf_slice(&vm->scratch);
    return call(L, r, &args);
}

/* core.redis_encode(name, ...) -> a command for a pipeline */
static int l_encode(lua_State *L)
{
    struct vm *vm = vm_of(L);

    buf_consume(&vm->scratch, vm->scratch.len);
    put_command(L, 1, &vm->scratch);
    lua_pushlstring(L, buf_slice(&vm->scratch).p, vm->scratch.len);
    return 1;
}

/* core.redis_pipeline(server, n, bytes): the list of n replies */
static int l_pipeline(lua_State *L)
{
    struct redis *r = client(L);
    struct redis_call_args args = {
        .n = (unsigned)luaL_checkinteger(L, 2),
        .timeout = vm_of(L)->env.conf->server.call_timeout,
        .done = on_list,
    };

    args.bytes.p = luaL_checklstring(L, 3, &args.bytes.len);
    return call(L, r, &args);
}

/* core.redis_abandon(server, ticket): nobody waits for this blocking call */
static int l_abandon(lua_State *L)
{
    redis_abandon(client(L), (uint64_t)luaL_checknumber(L, 2));
    return 0;
}

static const luaL_Reg functions[] = {
    {"redis_command", l_command},
    {"redis_encode", l_encode},
    {"redis_pipeline", l_pipeline},
    {"redis_abandon", l_abandon},
    {NULL, NULL},
};

static void open_clients(lua_State *L, struct vm *vm)
{
    const struct conf *conf = vm->env.conf;
    const char *why = NULL;
    unsigned i;

    lua_createtable(L, 0, (int)conf->nredis);
    vm->redis = mem_zalloc((conf->nredis + 1) * sizeof(struct redis *));
    for (i = 0; i < conf->nredis; i++) {
        const struct conf_redis *c = &conf->redis[i];

        if (redis_open(&vm->redis[i], vm->env.loop, c->name, c->url,
                       vm->env.embedded_redis, &why) < 0)
            luaL_error(L, "redis.%s.url: %s", c->name, why);
        vm->nredis = i + 1;
        lua_pushinteger(L, (lua_Integer)i);
        lua_setfield(L, -2, c->name);
    }
    lua_setfield(L, -2, "redis_servers");
}

void bind_redis(lua_State *L)
{
    luaL_register(L, NULL, functions);
    open_clients(L, vm_of(L));
}

void redis_unbind(struct vm *vm)
{
    unsigned i;

    for (i = 0; i < vm->nredis; i++)
        redis_close(&vm->redis[i]);
    mem_free(vm->redis);
    vm->redis = NULL;
    vm->nredis = 0;
}
