/* vm.c - see vm.h.
 *
 * The state has an allocator of ours that counts and caps (server.vm_memory);
 * its user data is the vm, so every binding finds its vm in one step.  What is
 * in the state is put there by boot.c. */
#include "vm/vm.h"
#include "vm/abroad.h"

#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/timer.h"
#include "net/http.h"
#include "vm/console.h"
#include "vm/deliver.h"
#include "vm/heap.h"
#include "vm/schedule.h"
#include "vm/state.h"
#include "vm/task.h"
#include "vm/watchdog.h"

#define STACK_GUARD (1u << 20)

/* For coroutines inside coroutines, some 2000.  Each takes more of the heap
 * than of the stack, and an error that passes through them grows at each. */
#define NESTED_MAX ((size_t)256 * 1024)

#define SCRATCH_KEEP ((size_t)256 * 1024)

/* A step of loading compiles much: it may take so many max_run, but beside a
 * vm that serves only this part of what the master waits for a heartbeat. */
#define LOAD_TIMES 10
#define LOAD_SHARE 4

/* Of a vm that is being closed, maybe on another thread, nothing may be asked:
 * what scripts do when their values are finalized raises, and is ignored. */
struct vm *vm_of(lua_State *L)
{
    struct vm *vm;
    void *ud;

    lua_getallocf(L, &ud);
    vm = ud;
    if (vm->state == VM_CLOSING)
        luaL_error(L, "this vm has ended");
    return vm;
}

static void *vm_alloc(void *ud, void *p, size_t old, size_t size)
{
    return heap_resize(((struct vm *)ud)->heap, p, old, size);
}

static int on_panic(lua_State *L)
{
    sd_panic(__FILE__, __LINE__, __func__,
             lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                            : "unprotected Lua error");
}

static int traceback(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

static bool on_turn(struct loop_hook *hook)
{
    struct vm *vm = list_entry(hook, struct vm, hook);
    unsigned ran;

    garbage_turn(&vm->garbage);
    if (vm->scratch.cap > SCRATCH_KEEP)
        buf_fini(&vm->scratch);
    ran = co_flush(vm);
    if (vm->state >= VM_RETIRED)
        vm_look_retired(vm);
    return ran > 0;
}

/* Where the stack of this thread has 1 MB left. */
static const char *stack_low(void)
{
    pthread_attr_t attr;
    void *low = NULL;
    size_t size = 0;

    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return NULL;
    pthread_attr_getstack(&attr, &low, &size);
    pthread_attr_destroy(&attr);
    return (const char *)low + STACK_GUARD;
}

static void vm_init(struct vm *vm, struct vms *all, struct code *code,
                    const char *why)
{
    size_t limit = code->conf->server.vm_memory;

    vm->magic = VM_MAGIC;
    vm->all = all;
    vm->code = code_ref(code);
    vm->env = all->env;
    vm->env.generation = code->generation;
    vm->env.bundle = code->bundle;
    vm->env.conf = code->conf;
    vm->env.why = why;
    vm->max_run = vm_is_watched(vm) ? code->conf->server.max_run : 0;
    vm->boot = LUA_NOREF;
    list_init(&vm->link);
    list_init(&vm->dormant);
    list_init(&vm->consoles);
    garbage_init(&vm->garbage, vm);
    vm->stack_low = stack_low();
    vm->stack_nested = (const char *)__builtin_frame_address(0) - NESTED_MAX;
    vm->heap = heap_new(limit > 0 ? limit : SIZE_MAX / 2);
    cos_init(vm);
    vm->hook.fn = on_turn;
    vm->hook.rank = LOOP_WORK;
    loop_hook_add(all->env.loop, &vm->hook);
    vm->deliveries = deliveries_new(PACK_SCRIPT + 2 * code->conf->nports,
                                    code->conf->nports);
}

/* ms of CPU; who does not answer because of it must not be killed for it. */
static uint64_t load_limit(const struct vm *vm)
{
    const struct vm *serves = vms_now(vm->all);
    uint64_t limit = vm->max_run * LOAD_TIMES, share;

    if (serves == NULL || serves == vm)
        return limit;
    share = serves->env.conf->server.hang_timeout / LOAD_SHARE;
    return share > 0 && share < limit ? share : limit;
}

/* Protected call of one of vm_boot()'s steps; its result stays on the stack. */
static int boot(struct vm *vm, lua_CFunction step, char *text, size_t size)
{
    const char *what, *stack;
    int rc;

    lua_settop(vm->L, 0);
    lua_pushcfunction(vm->L, traceback);
    lua_pushcfunction(vm->L, step);
    vm->all->is_loading = true;
    watchdog_enter(vm->L, load_limit(vm));
    rc = lua_pcall(vm->L, 0, 1, 1);
    watchdog_leave();
    vm->all->is_loading = false;
    if (rc == 0)
        return 0;
    if (watchdog_take(&what, &stack))
        snprintf(text, size, "%s%s", what, stack);
    else
        snprintf(text, size, "%s", co_error_text(vm->L));
    return SD_EFAILED;
}

int vm_open(struct vm **out, struct vms *all, struct code *code,
            const char *why, char *text, size_t size)
{
    struct vm *vm = mem_zalloc(sizeof(*vm));

    vm_init(vm, all, code, why);
    vm->L = lua_newstate(vm_alloc, vm);
    sd_assert(vm->L != NULL);
    lua_atpanic(vm->L, on_panic);
    if (boot(vm, vm_boot, text, size) < 0) {
        vm_close(&vm);
        return SD_EFAILED;
    }
    *out = vm;
    return 0;
}

int vm_load(struct vm *vm, char *text, size_t size)
{
    int err = boot(vm, vm_boot_file, text, size);
    bool more = err == 0 && lua_toboolean(vm->L, -1);

    if (err == 0 && !more)
        err = boot(vm, vm_boot_end, text, size);
    if (err < 0)
        return err;
    lua_settop(vm->L, 0);
    return more;
}

void vm_tell_end(struct vm *vm, uint64_t id)
{
    int rc;

    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->entry[ENTRY_ENDED]);
    lua_pushnumber(vm->L, (double)id);
    watchdog_enter(vm->L, vm->max_run);
    rc = lua_pcall(vm->L, 1, 0, 0);
    watchdog_leave();
    if (rc != 0) {
        log_error("end of a call: %s", co_error_text(vm->L));
        lua_pop(vm->L, 1);
    }
}

/* Requests whose coroutine will not run on must end for their conns' sake. */
static void end_requests(struct vm *vm)
{
    uint32_t i;

    for (i = 0; i < vm->nrequests; i++) {
        struct vm_request *q = &vm->requests[i];

        if (q->r == NULL)
            continue;
        if (q->streaming)
            http_stream_end(q->r);
        else
            http_fail(q->r, 503, slice_str("stopping"));
        q->r = NULL;
    }
    mem_free(vm->requests);
    vm->requests = NULL;
    vm->nrequests = 0;
}

/* What wakes or feeds it goes: the loop's thread will not touch it again. */
void vm_detach(struct vm *vm)
{
    sd_check(vm, VM_MAGIC);
    consoles_close(vm);
    end_requests(vm);
    schedule_close(&vm->schedule);
    redis_unbind(vm);
    if (vm->L != NULL)
        watchdog_forget(vm->L);
    tasks_forget(vm->all->tasks, vm);
    abroad_forget(vm->all->abroad, vm);
    asks_forget(vm->all->people, vm);
    timer_stop(vm->env.loop, &vm->limit);
    garbage_stop(&vm->garbage);
    loop_hook_del(&vm->hook);
    list_del(&vm->link);
    cos_detach(vm);
    vm->state = VM_CLOSING;
}

/* Finalizers of scripts run in here; see vm_of(). */
void vm_destroy(struct vm *vm)
{
    if (vm->L != NULL)
        lua_close(vm->L);
    heap_free(&vm->heap);
    cos_fini(vm);
    deliveries_free(&vm->deliveries);
    buf_fini(&vm->scratch);
    packs_fini(&vm->packs);
    mem_free(vm->ports);
}

void vm_close(struct vm **vp)
{
    struct vm *vm = *vp;

    if (vm == NULL)
        return;
    *vp = NULL;
    vm_detach(vm);
    vm_destroy(vm);
    code_unref(&vm->code);
    vm->magic = 0;
    mem_free(vm);
}
