/* garbage.c - see garbage.h.
 *
 * Lua waits with a collection until the heap is twice what the last one left,
 * which may be more than it is ever given: one packet of 2 MB can make 140 MB
 * of garbage, and the next would fail.  So above half of the limit it is told
 * to collect, and again when half of what was left by that is used up.
 *
 * To mark and sweep 150 MB takes half a second.  So it is done in slices of
 * SLICE, one a turn, between which packets are served.  If what lives is over
 * the soft mark then, compiled code is thrown away and it is done once more,
 * for that holds on to functions it was made for and all they refer to.  If
 * that does not help either, the process is to make another vm
 * (garbage_is_short()).
 *
 * Only after the limit was hit it is done in one go: the next request would
 * fail else.
 *
 * Inside a run it is done where the heap is full (vm/watchdog.c), and where C
 * that makes a value for Lua is refused memory (garbage_attempt()).  A hook may
 * not collect behind a flush: LuaJIT may be about to execute an instruction of
 * the trace that is gone.
 *
 * A run that catches the error and goes on would have the whole heap collected
 * for each thing it makes.  So after IN_VAIN times without use it is done the
 * more rarely the more often it was of none. */
#include "vm/garbage.h"

#include <lauxlib.h>
#include <luajit.h>

#include "base/clock.h"
#include "base/log.h"
#include "vm/heap.h"
#include "vm/state.h"
#include "vm/watchdog.h"

enum {
    SLICE = 3000000,    /* ns */
    STEP = 16,          /* KiB that Lua works off between looks at the clock */
    LITTLE = 16,        /* of the limit, one part in so many */
    IN_VAIN = 8,        /* collections without use in a run, before it waits */
    FLUSH_EVERY = 60000 /* ms, between turns */
};

static size_t limit_of(const struct vm *vm)
{
    return vm->env.conf->server.vm_memory;
}

static size_t next_mark(const struct vm *vm, size_t used)
{
    size_t limit = limit_of(vm);

    if (limit == 0)
        return SIZE_MAX;
    if (used >= limit) /* in the slack, where each request more is looked at */
        return used + limit / LITTLE;
    return used < limit / 4 ? limit / 2 : used + (limit - used) / 2;
}

/* Three quarters of what a vm may have. */
static bool is_over_soft_mark(const struct vm *vm)
{
    size_t limit = limit_of(vm);

    return limit > 0 && heap_used(vm->heap) > limit - limit / 4;
}

/* Protected: what scripts do when their values are finalized may raise.
 * Nothing here needs memory that might be refused. */
static void run(lua_State *L, int function)
{
    struct heap *heap = vm_of(L)->heap;

    heap_lift(heap, true);
    lua_rawgeti(L, LUA_REGISTRYINDEX, function);
    if (lua_pcall(L, 0, 0, 0) != 0) {
        watchdog_again();
        log_error("garbage collection: %s",
                  lua_isstring(L, -1) ? lua_tostring(L, -1) : "?");
        lua_pop(L, 1);
    }
    heap_lift(heap, false);
}

static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* Raises while a value is finalized. */
static int flush(lua_State *L)
{
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_FLUSH);
    return 0;
}

static int collect_slice(lua_State *L)
{
    struct garbage *g = &vm_of(L)->garbage;
    uint64_t until = clock_ns() + SLICE;

    while (!g->is_done && clock_ns() < until)
        g->is_done = lua_gc(L, LUA_GCSTEP, STEP) != 0;
    return 0;
}

/* --- inside a run --------------------------------------------------------- */

void garbage_collect(lua_State *L)
{
    run(L, vm_of(L)->garbage.collect);
}

static bool is_worth_it(const struct garbage *g)
{
    return g->in_vain < IN_VAIN || (g->in_vain & (g->in_vain - 1)) == 0;
}

static void collect_in_run(struct garbage *g, lua_State *L)
{
    size_t used = heap_used(g->vm->heap);

    if (is_worth_it(g))
        garbage_collect(L);
    if (heap_used(g->vm->heap) + limit_of(g->vm) / LITTLE < used)
        g->in_vain = 0;
}

enum garbage_room garbage_make_room(lua_State *L)
{
    struct garbage *g = &vm_of(L)->garbage;
    struct heap *heap = g->vm->heap;

    if (heap_is_full(heap))
        collect_in_run(g, L);
    if (!heap_is_full(heap)) {
        (void)heap_was_starved(heap); /* no more */
        return GARBAGE_ROOM;
    }
    if (!g->is_flushed) {
        run(L, g->flush);
        g->is_flushed = true;
        return GARBAGE_SOON;
    }
    g->in_vain++;
    return GARBAGE_NONE;
}

struct attempt {
    garbage_fn *fn;
    void *arg;
    int rc;
};

/* pcall'ed */
static int attempt(lua_State *L)
{
    struct attempt *a = lua_touserdata(L, 1);

    lua_settop(L, 0);
    a->rc = a->fn(L, a->arg);
    return a->rc < 0 ? 0 : 1;
}

static int try_it(lua_State *L, struct attempt *a)
{
    int status;

    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->garbage.attempt);
    lua_pushlightuserdata(L, a);
    status = lua_pcall(L, 1, 1, 0);
    if (status != 0)
        watchdog_again();
    if (status != 0 || a->rc < 0)
        lua_pop(L, 1);
    return status;
}

static bool may_be_short(const struct vm *vm, size_t bytes)
{
    size_t limit = limit_of(vm);

    return limit > 0 && heap_used(vm->heap) + bytes > limit;
}

/* The third time is not protected: there is nothing left to be done. */
static int attempt_again(struct garbage *g, lua_State *L, struct attempt *a)
{
    collect_in_run(g, L);
    if (try_it(L, a) == 0)
        return a->rc;
    if (!g->is_flushed) {
        run(L, g->flush);
        g->is_flushed = true;
        collect_in_run(g, L);
    }
    g->in_vain++;
    return a->fn(L, a->arg);
}

int garbage_attempt(lua_State *L, garbage_fn *fn, void *arg, size_t bytes)
{
    struct garbage *g = &vm_of(L)->garbage;
    struct attempt a = {fn, arg, 0};
    int rc;

    if (!may_be_short(g->vm, bytes))
        return fn(L, arg);
    if (!is_worth_it(g)) {
        g->in_vain++;
        return fn(L, arg);
    }
    if (try_it(L, &a) == 0)
        return a.rc;
    rc = attempt_again(g, L, &a);
    if (!heap_is_full(g->vm->heap))
        (void)heap_was_starved(g->vm->heap);
    return rc;
}

/* --- between turns -------------------------------------------------------- */

static void begin(struct garbage *g)
{
    g->is_running = true;
    g->is_done = false;
    loop_defer(g->vm->env.loop, &g->next);
}

/* A collection is through.  A vm is short only if compiled code was not what
 * filled it. */
static void end(struct garbage *g)
{
    uint64_t now = loop_now(g->vm->env.loop);
    bool is_over = is_over_soft_mark(g->vm);

    if (is_over && !g->is_behind_flush &&
        (g->flushed_at == 0 || now - g->flushed_at > FLUSH_EVERY)) {
        g->flushed_at = now;
        g->is_behind_flush = true;
        run(g->vm->L, g->flush);
        begin(g);
        return;
    }
    g->is_short = is_over && g->is_behind_flush;
    g->is_behind_flush = g->is_running = false;
    loop_undefer(&g->next);
    g->at = next_mark(g->vm, heap_used(g->vm->heap));
}

static void on_next(struct loop_job *job)
{
    struct garbage *g = list_entry(job, struct garbage, next);

    run(g->vm->L, g->slice);
    if (g->is_done)
        end(g);
    else
        loop_defer(g->vm->env.loop, job);
}

void garbage_init(struct garbage *g, struct vm *vm)
{
    *g = (struct garbage){.vm = vm, .at = next_mark(vm, 0)};
    g->next.fn = on_next;
}

static int keep(lua_State *L, lua_CFunction function)
{
    lua_pushcfunction(L, function);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void garbage_boot(lua_State *L)
{
    struct garbage *g = &vm_of(L)->garbage;

    g->collect = keep(L, collect);
    g->slice = keep(L, collect_slice);
    g->flush = keep(L, flush);
    g->attempt = keep(L, attempt);
}

void garbage_turn(struct garbage *g)
{
    struct vm *vm = g->vm;

    garbage_run(g);
    if (heap_was_starved(vm->heap)) {
        run(vm->L, g->collect);
        end(g);
        log_warn("out of memory: %zu bytes left in use after a collection",
                 heap_used(vm->heap));
    } else if (!g->is_running && heap_used(vm->heap) > g->at) {
        begin(g);
    }
}

void garbage_stop(struct garbage *g)
{
    loop_undefer(&g->next);
}

bool garbage_is_short(const struct garbage *g)
{
    return g->is_short && is_over_soft_mark(g->vm);
}
