/* co.c - see co.h: the pool, and running.
 *
 * A LuaJIT coroutine that has returned can be started again with another
 * function, so the pool keeps finished ones and a call costs one lua_resume.
 * One that ended with an error is dead and is replaced.
 *
 * Three numbers guard against waking the wrong thing.  `index` is the place
 * in the pool, `life` says which use of it, `wait` which of its waits.  Both
 * counters are 32 bits; with the 20 bits of the index they are exact in a Lua
 * number.
 *
 * Nothing resumes a coroutine from inside another one: co_wake() during Lua
 * is followed by co_ready(), and co_flush() runs the queue when C has control
 * again.  So the C stack never holds more than one lua_resume of ours per
 * call from the loop. */
#include "vm/co.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/running.h"
#include "loop/timer.h"
#include "vm/note.h"
#include "vm/state.h"
#include "vm/watchdog.h"

#define CO_MAX      (1u << 20)
#define CO_IDLE_MAX 4096

static struct co *co_new(struct vm *vm)
{
    struct cos *cos = &vm->cos;
    struct co *co;

    if (cos->n == CO_MAX)
        return NULL;
    co = mem_zalloc(sizeof(*co));
    if (cos->n == cos->cap) {
        cos->cap = cos->cap > 0 ? cos->cap * 2 : 64;
        cos->at = mem_realloc(cos->at, cos->cap * sizeof(struct co *));
        cos->idle = mem_realloc(cos->idle, cos->cap * sizeof(struct co *));
    }
    co->vm = vm;
    co->index = cos->n;
    co->ref = LUA_NOREF;
    list_init(&co->link);
    co->timer.fn = co_on_timer;
    cos->at[cos->n++] = co;
    return co;
}

/* Into the stack of idle ones, where those with a thread lie on top. */
static void rest(struct co *co)
{
    struct cos *cos = &co->vm->cos;
    uint32_t cold = cos->nidle - cos->nwarm;

    co->state = CO_IDLE;
    if (co->L != NULL) {
        cos->idle[cos->nidle] = co;
        cos->nwarm++;
    } else {
        cos->idle[cos->nidle] = cos->idle[cold];
        cos->idle[cold] = co;
    }
    cos->nidle++;
}

static struct co *unrest(struct vm *vm)
{
    struct cos *cos = &vm->cos;
    struct co *co;

    if (cos->nidle == 0)
        return co_new(vm);
    co = cos->idle[--cos->nidle];
    if (cos->nwarm > 0)
        cos->nwarm--;
    return co;
}

/* Under lua_cpcall: both calls allocate. */
static int make_thread(lua_State *L)
{
    struct co *co = lua_touserdata(L, 1);

    co->L = lua_newthread(L);
    co->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void co_drop_thread(struct co *co)
{
    luaL_unref(co->vm->L, LUA_REGISTRYINDEX, co->ref);
    co->ref = LUA_NOREF;
    co->L = NULL;
}

void cos_init(struct vm *vm)
{
    list_init(&vm->cos.ready);
}

void cos_detach(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->cos.n; i++)
        timer_stop(vm->env.loop, &vm->cos.at[i]->timer);
}

void cos_fini(struct vm *vm)
{
    struct cos *cos = &vm->cos;
    uint32_t i;

    for (i = 0; i < cos->n; i++)
        mem_free(cos->at[i]);
    mem_free(cos->at);
    mem_free(cos->idle);
    *cos = (struct cos){0};
    list_init(&cos->ready);
}

struct co *co_take(struct vm *vm, enum co_kind kind, uint64_t deadline)
{
    struct cos *cos = &vm->cos;
    struct co *co = unrest(vm);

    if (co == NULL)
        return NULL;
    if (co->L == NULL && lua_cpcall(vm->L, make_thread, co) != 0) {
        lua_pop(vm->L, 1);
        co->L = NULL;
        rest(co);
        return NULL;
    }
    co->life++;
    co->wait++; /* tickets of an earlier life are dead */
    co->state = CO_READY;
    co->kind = (uint8_t)kind;
    co->cancelled = co->tracked = co->may_not_wait = false;
    co->deadline = deadline;
    co->began = loop_now(vm->env.loop);
    co->root = co_id(co);
    co->on_end = NULL;
    co->conn = 0;
    co->arg = NULL;
    co->what = RUNNING_WORK;
    co->port = RUNNING_NO_PORT;
    co->name = NULL;
    if (kind == CO_CALL)
        cos->calls++;
    return co;
}

void co_give_back(struct co *co)
{
    if (co->kind == CO_CALL)
        co->vm->cos.calls--;
    lua_settop(co->L, 0);
    rest(co);
}

/* Under lua_cpcall, on the coroutine's own stack. */
static int make_room(lua_State *L)
{
    luaL_checkstack(L, *(const int *)lua_touserdata(L, 1), "too many values");
    return 0;
}

/* A stack grows by allocating, which may raise, and nothing catches that on a
 * coroutine which does not run. */
bool co_room(struct co *co, int n)
{
    if (n < LUA_MINSTACK)
        return true;
    if (lua_cpcall(co->L, make_room, &n) == 0)
        return true;
    lua_pop(co->L, 1);
    return false;
}

const char *co_error_text(lua_State *L)
{
    const char *text, *stack;

    if (watchdog_take(&text, &stack))
        return text;
    if (lua_gettop(L) > 0 && lua_type(L, -1) == LUA_TSTRING)
        return lua_tostring(L, -1);
    return "(error object is no string)";
}

static void co_finish(struct co *co, int status)
{
    struct vm *vm = co->vm;
    struct cos *cos = &vm->cos;

    if (co->on_end != NULL)
        co->on_end(co, status);
    else if (status != 0 && !co->cancelled)
        log_error("%s", co_error_text(co->L));
    if (co->tracked)
        vm_tell_end(vm, co_id(co));
    if (co->kind == CO_CALL)
        cos->calls--;
    if (status != 0 || cos->nwarm >= CO_IDLE_MAX)
        co_drop_thread(co);
    else
        lua_settop(co->L, 0);
    rest(co);
}

void co_start(struct co *co, int nargs)
{
    struct cos *cos = &co->vm->cos;
    int rc;

    sd_assert(co->state == CO_READY);
    if (cos->current != NULL) {
        co_ready(co, nargs);
        return;
    }
    cos->current = co;
    co->vm->all->running = co;
    co->state = CO_RUNNING;
    log_generation(co->vm->env.generation);
    garbage_run(&co->vm->garbage);
    watchdog_enter(co->L, co->vm->max_run);
    rc = lua_resume(co->L, nargs);
    watchdog_leave();
    log_generation(co->vm->all->env.generation);
    cos->current = NULL;
    co->vm->all->running = NULL;
    vm_unsend(co->vm);
    if (rc != LUA_YIELD) {
        co_finish(co, rc);
    } else if (co->state != CO_WAITING) {
        /* coroutine.yield is replaced (lua/sd/strict.lua), so this is ours. */
        sd_panic(__FILE__, __LINE__, __func__, "yield without a wait");
    } else {
        note_wait(co);
    }
}

void co_ready(struct co *co, int nargs)
{
    sd_assert(co->state == CO_READY && list_empty(&co->link));
    co->nready = nargs;
    list_add(&co->vm->cos.ready, &co->link);
}

void co_later(struct co *co, int nargs)
{
    struct vm *vm = co->vm;

    co_ready(co, nargs);
    if (vm->state >= VM_SERVING || vm == vm->all->current)
        return;
    list_del(&co->link);
    list_add(&vm->dormant, &co->link);
}

void cos_wake_dormant(struct vm *vm)
{
    while (!list_empty(&vm->dormant)) {
        struct list *node = vm->dormant.next;

        list_del(node);
        list_add(&vm->cos.ready, node);
    }
}

unsigned co_flush(struct vm *vm)
{
    struct cos *cos = &vm->cos;
    struct list batch;
    unsigned n = 0;

    /* Only what is ready now: what it makes ready runs next time, so that a
     * script that wakes itself for ever cannot keep the loop from its
     * sockets. */
    list_init(&batch);
    while (!list_empty(&cos->ready)) {
        struct list *node = cos->ready.next;

        list_del(node);
        list_add(&batch, node);
    }
    while (!list_empty(&batch)) {
        struct co *co = list_entry(batch.next, struct co, link);

        list_del(&co->link);
        co_start(co, co->nready);
        n++;
    }
    return n;
}

uint64_t co_id(const struct co *co)
{
    return (uint64_t)co->life << 20 | co->index;
}

struct co *co_by_id(struct vm *vm, uint64_t id)
{
    uint32_t index = (uint32_t)(id & (CO_MAX - 1));
    struct co *co = index < vm->cos.n ? vm->cos.at[index] : NULL;

    if (co == NULL || co->state == CO_IDLE || co->life != id >> 20)
        return NULL;
    return co;
}

struct co *co_current(lua_State *L)
{
    struct co *co = vm_of(L)->cos.current;

    return co != NULL && co->L == L ? co : NULL;
}

int co_raise(lua_State *L, const char *fmt, ...)
{
    lua_Debug ar;
    va_list ap;
    int level = 0;

    lua_pushliteral(L, "");
    while (lua_getstack(L, level++, &ar)) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && strncmp(ar.source, "@sd/", 4) != 0) {
            lua_pop(L, 1);
            lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
            break;
        }
    }
    va_start(ap, fmt);
    lua_pushvfstring(L, fmt, ap);
    va_end(ap);
    lua_concat(L, 2);
    lua_error(L);
    sd_panic(__FILE__, __LINE__, __func__, "lua_error returned");
}
