/* retire.c - the end of a vm that another one has replaced.
 *
 * What serves a packet, request, task or configured timer may finish, for
 * server.reload_timeout; then each of its waits raises "cancelled".  Background
 * work ends at once: it would do in old code, beside its successor, what only
 * one of them shall do.
 *
 * When the last call has ended, on_stop runs and the vm is freed.  A large one
 * takes tens of milliseconds for that, so it is done on another thread; what
 * could wake the vm has been detached before. */
#include <lua.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/running.h"
#include "loop/timer.h"
#include "loop/work.h"
#include "vm/schedule.h"
#include "vm/state.h"
#include "vm/watchdog.h"

/* --- background work ------------------------------------------------------ */

/* Does it belong to a call, as one of its children? */
static bool serves_call(struct vm *vm, const struct co *co)
{
    const struct co *root = co_by_id(vm, co->root);

    return co->kind == CO_CALL || (root != NULL && root->kind == CO_CALL);
}

static unsigned end_background(struct vm *vm)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < vm->cos.n; i++) {
        struct co *co = vm->cos.at[i];

        if (co->state == CO_IDLE || serves_call(vm, co))
            continue;
        co_cancel(co);
        n++;
    }
    return n;
}

/* Lua knows which timers are due soon. */
static void ask_timers(struct vm *vm)
{
    lua_State *L = vm->L;
    int rc;

    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->entry[ENTRY_RETIRE]);
    lua_pushnumber(L, (double)vm->env.conf->server.reload_timeout);
    watchdog_enter(L, vm->max_run);
    rc = lua_pcall(L, 1, 0, 0);
    watchdog_leave();
    if (rc != 0) {
        log_error("timers of the old code: %s", co_error_text(L));
        lua_pop(L, 1);
    }
}

/* --- calls ---------------------------------------------------------------- */

static void on_limit(struct timer *t)
{
    struct vm *vm = list_entry(t, struct vm, limit);

    log_warn("generation %u: %u calls were not over in server.reload_timeout",
             vm->env.generation, vm->cos.calls);
    for (uint32_t i = 0; i < vm->cos.n; i++) {
        if (vm->cos.at[i]->state != CO_IDLE)
            co_cancel(vm->cos.at[i]);
    }
}

void vm_retire(struct vm *vm)
{
    unsigned n;

    sd_check(vm, VM_MAGIC);
    sd_assert(vm->state == VM_SERVING);
    vm->state = VM_RETIRED;
    schedule_close(&vm->schedule);
    ask_timers(vm);
    n = end_background(vm);
    log_info("generation %u: %u calls finish, %u in the background were ended",
             vm->env.generation, vm->cos.calls, n);
}

void vm_limit(struct vm *vm)
{
    vm->limit.fn = on_limit;
    timer_start(vm->env.loop, &vm->limit,
                vm->env.conf->server.reload_timeout + 1);
}

/* --- the end -------------------------------------------------------------- */

static void on_thread(void *arg)
{
    vm_destroy(arg);
}

static void on_destroyed(void *arg)
{
    struct vm *vm = arg;

    vm->all->nclosing--;
    log_debug("generation %u has ended", vm->env.generation);
    code_unref(&vm->code);
    vm->magic = 0;
    mem_free(vm);
}

static void close_apart(struct vm *vm)
{
    struct loop *loop = vm->env.loop;

    vm->all->nclosing++;
    vm_detach(vm);
    work_start(loop, on_thread, on_destroyed, vm);
}

static void stop_ended(struct co *co, int status)
{
    if (status != 0)
        log_error("on_stop: %s", co_error_text(co->L));
    co->vm->is_stopped = true;
}

static void stop(struct vm *vm)
{
    struct co *co = vm_enter(vm, vm->entry[ENTRY_STOP], CO_WORK,
                             vm->env.conf->server.call_timeout);

    timer_stop(vm->env.loop, &vm->limit);
    vm->state = VM_STOPPING;
    vm->is_stopped = co == NULL;
    if (co == NULL)
        return;
    co->on_end = stop_ended;
    co->what = RUNNING_HOOK;
    co->name = "on_stop";
    co_start(co, 0);
}

void vm_look_retired(struct vm *vm)
{
    if (vm->all->current == vm)
        return; /* save() runs */
    if (vm->state == VM_RETIRED && vm->cos.calls == 0)
        stop(vm);
    if (vm->state == VM_STOPPING && vm->is_stopped)
        close_apart(vm);
}
