/* garbage.c - see garbage.h.
 *
 * Lua waits with a collection until the heap is twice what the last one left,
 * which may be more than it is ever given: one packet of 2 MB can make 140 MB
 * of garbage, and the next would fail.  So above half of the limit it is told
 * to collect, and again when half of what was left by that is used up.
 *
 * To mark and sweep 150 MB takes half a second.  So it is done in slices of
 * SLICE, one a turn, between which packets are served.  If what lives is over
 * the soft mark then, compiled code is thrown away, as it holds on to values it
 * was made for; and if that does not help either, the process is to make
 * another vm (vms_is_short()).
 *
 * Only after the limit was hit it is done in one go: the next request would
 * fail else. */
#include "vm/garbage.h"

#include <lauxlib.h>
#include <luajit.h>

#include "base/clock.h"
#include "base/log.h"
#include "vm/heap.h"
#include "vm/state.h"

enum {
    SLICE = 3000000, /* ns */
    STEP = 16,       /* KiB that Lua works off between looks at the clock */
    IN_VAIN_MAX = 8, /* collections inside the calls of a turn */
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
    if (used >= limit) /* in the reserve */
        return limit;
    return used < limit / 4 ? limit / 2 : used + (limit - used) / 2;
}

/* Three quarters of what a vm may have. */
static bool is_over_soft_mark(const struct vm *vm)
{
    size_t limit = limit_of(vm);

    return limit > 0 && heap_used(vm->heap) > limit - limit / 4;
}

/* What compiled code was made of lives as long as that. */
static void flush_traces(lua_State *L)
{
    vm_of(L)->garbage.is_flushed = true;
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_FLUSH);
}

void garbage_collect(lua_State *L)
{
    struct heap *heap = vm_of(L)->heap;

    heap_lift(heap, true);
    lua_gc(L, LUA_GCCOLLECT, 0);
    heap_lift(heap, false);
}

/* Who catches the error and goes on finds the same again and again. */
bool garbage_make_room(lua_State *L)
{
    struct garbage *g = &vm_of(L)->garbage;
    struct heap *heap = g->vm->heap;

    if (g->in_vain < IN_VAIN_MAX)
        garbage_collect(L);
    if (heap_is_full(heap) && !g->is_flushed) {
        flush_traces(L);
        garbage_collect(L);
    }
    if (heap_is_full(heap)) {
        g->in_vain++;
        return false;
    }
    (void)heap_was_starved(heap); /* no more */
    return true;
}

/* pcall'ed */
static int collect(lua_State *L)
{
    flush_traces(L);
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* pcall'ed */
static int collect_slice(lua_State *L)
{
    struct garbage *g = &vm_of(L)->garbage;
    uint64_t until = clock_ns() + SLICE;

    while (!g->is_done && clock_ns() < until)
        g->is_done = lua_gc(L, LUA_GCSTEP, STEP) != 0;
    return 0;
}

/* Protected, with nothing that allocates. */
static void run(struct vm *vm, int function)
{
    heap_lift(vm->heap, true);
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, function);
    if (lua_pcall(vm->L, 0, 0, 0) != 0) {
        log_error("garbage collection: %s", co_error_text(vm->L));
        lua_pop(vm->L, 1);
    }
    heap_lift(vm->heap, false);
}

static void end(struct garbage *g)
{
    g->is_running = false;
    loop_undefer(&g->next);
    g->at = next_mark(g->vm, heap_used(g->vm->heap));
    g->is_short = is_over_soft_mark(g->vm);
}

static void on_next(struct loop_job *job)
{
    struct garbage *g = list_entry(job, struct garbage, next);

    run(g->vm, g->slice);
    if (g->is_done && is_over_soft_mark(g->vm) && !g->is_flushed) {
        flush_traces(g->vm->L);
        g->is_done = false; /* once more */
    }
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

void garbage_boot(lua_State *L)
{
    struct garbage *g = &vm_of(L)->garbage;

    lua_pushcfunction(L, collect);
    g->collect = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, collect_slice);
    g->slice = luaL_ref(L, LUA_REGISTRYINDEX);
}

void garbage_turn(struct garbage *g)
{
    struct vm *vm = g->vm;

    if (heap_was_starved(vm->heap)) {
        run(vm, g->collect);
        end(g);
        log_warn("out of memory: %zu bytes left in use after a collection",
                 heap_used(vm->heap));
    } else if (!g->is_running && heap_used(vm->heap) > g->at) {
        g->is_running = true;
        g->is_done = false;
        loop_defer(vm->env.loop, &g->next);
    }
    if (!g->is_running)
        g->is_flushed = false;
    g->in_vain = 0;
}

void garbage_stop(struct garbage *g)
{
    loop_undefer(&g->next);
}
