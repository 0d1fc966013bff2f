/* vm.c - see vm.h.
 *
 * The state has an allocator of ours that counts and caps (server.vm_memory);
 * its user data is the vm, so every binding finds its vm in one step.  What is
 * in the state is put there by boot.c. */
#include "vm/vm.h"

#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "net/http.h"
#include "net/reason.h"
#include "vm/deliver.h"
#include "vm/door.h"
#include "vm/heap.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/schedule.h"
#include "vm/state.h"
#include "vm/task.h"
#include "vm/task_state.h"

#define STACK_GUARD (1u << 20)

/* For coroutines inside coroutines, some 2000.  Each takes more of the heap
 * than of the stack, and an error that passes through them grows at each. */
#define NESTED_MAX ((size_t)256 * 1024)

#define SCRATCH_KEEP ((size_t)256 * 1024)

struct vm *vm_of(lua_State *L)
{
    void *ud;

    lua_getallocf(L, &ud);
    return ud;
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

/* Lua waits with a collection until the heap is twice what the last one left,
 * which may be more than it is ever given: one packet of 2 MB can make 140 MB
 * of garbage, and the next would fail.  So above half of the limit it is told
 * to collect, and again when half of what was left by that is used up. */
static size_t collect_mark(const struct vm *vm, size_t used)
{
    size_t limit = vm->env.conf->server.vm_memory;

    if (limit == 0)
        return SIZE_MAX;
    if (used >= limit) /* in the reserve */
        return limit;
    return used < limit / 4 ? limit / 2 : used + (limit - used) / 2;
}

/* Called with nothing that allocates: the function was kept at boot. */
static void collect_garbage(struct vm *vm)
{
    heap_lift(vm->heap, true);
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->collect);
    if (lua_pcall(vm->L, 0, 0, 0) != 0) {
        log_error("garbage collection: %s", co_error_text(vm->L));
        lua_pop(vm->L, 1);
    }
    heap_lift(vm->heap, false);
    vm->collect_at = collect_mark(vm, heap_used(vm->heap));
}

static bool on_turn(struct loop_hook *hook)
{
    struct vm *vm = list_entry(hook, struct vm, hook);

    if (heap_was_starved(vm->heap)) {
        collect_garbage(vm);
        log_warn("out of memory: %zu bytes left in use after a collection",
                 heap_used(vm->heap));
    } else if (heap_used(vm->heap) > vm->collect_at) {
        collect_garbage(vm);
    }
    if (vm->scratch.cap > SCRATCH_KEEP)
        buf_fini(&vm->scratch);
    kicks_turn(&vm->kicks);
    reach_turn(vm->reach);
    if (vm->env.role == VM_TASK)
        tasks_look_ahead(vm->tasks);
    return co_flush(vm) > 0;
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

static void inherited_ended(struct co *co, int status)
{
    vm_log_end(co, status);
    heir_ended(&co->vm->heir);
}

static void end_told(struct co *co, int status)
{
    vm_log_end(co, status);
    uidmap_settle(co->vm->people->map, (uint32_t)co->number);
}

/* A binding has ended: tell on_uid_closed at the end of the turn. */
static bool on_binding_end(void *arg, uint32_t debt)
{
    struct vm *vm = arg;
    struct co *co = NULL;

    if (vm->has_end_hook)
        co = vm_enter(vm, vm->entry[ENTRY_UID_CLOSED], CO_CALL,
                      vm->env.conf->server.call_timeout);
    if (co == NULL)
        return false;
    co->on_end = debt != 0             ? end_told
                 : vm->heir.is_in_page ? inherited_ended
                                       : vm_log_end;
    co->number = debt;
    heir_opened(&vm->heir);
    co_ready(co, 0);
    return true;
}

static void on_rival(void *arg, const struct uidmap_binding *b)
{
    struct vm *vm = arg;

    kicks_send(&vm->kicks, b, reason_word(REASON_REPLACED));
}

static void on_doubt(void *arg, const struct member *m)
{
    struct vm *vm = arg;
    struct co *co = vm_enter(vm, vm->entry[ENTRY_GROUPS], CO_WORK, 0);

    if (co == NULL)
        return; /* until the next change */
    co->on_end = vm_log_end;
    lua_pushnumber(co->L, vm_handle(m->conn));
    co_ready(co, 1);
}

static void open_people(struct vm *vm)
{
    vm->people = people_new();
    vm->people->on_end = on_binding_end;
    vm->people->on_rival = on_rival;
    vm->people->on_doubt = on_doubt;
    vm->people->arg = vm;
    vm->people->slot = vm->env.slot;
    if (vm->env.role == VM_WORKER)
        vm->people->map = vm->env.uids;
    vm->reach = reach_new(vm);
    vm->moves = moves_new(vm);
    kicks_init(&vm->kicks, vm);
    uidcalls_init(&vm->uidcalls);
    heir_init(&vm->heir, vm);
}

static void vm_init(struct vm *vm, const struct vm_env *env)
{
    size_t limit = env->conf->server.vm_memory;

    vm->magic = VM_MAGIC;
    vm->env = *env;
    vm->collect_at = collect_mark(vm, 0);
    vm->stack_low = stack_low();
    vm->stack_nested = (const char *)__builtin_frame_address(0) - NESTED_MAX;
    vm->heap = heap_new(limit > 0 ? limit : SIZE_MAX / 2);
    cos_init(vm);
    vm->hook.fn = on_turn;
    vm->hook.rank = LOOP_WORK;
    loop_hook_add(env->loop, &vm->hook);
    vm->tasks = tasks_new(vm);
    vm->doors = doors_new(vm);
    open_people(vm);
    vm->deliveries =
        deliveries_new(PACK_SCRIPT + 2 * env->conf->nports, env->conf->nports);
}

int vm_open(struct vm **out, const struct vm_env *env, char *why,
            size_t why_size)
{
    struct vm *vm = mem_zalloc(sizeof(*vm));

    vm_init(vm, env);
    vm->L = lua_newstate(vm_alloc, vm);
    sd_assert(vm->L != NULL);
    lua_atpanic(vm->L, on_panic);
    lua_pushcfunction(vm->L, traceback);
    lua_pushcfunction(vm->L, vm_boot);
    if (lua_pcall(vm->L, 0, 0, 1) != 0) {
        snprintf(why, why_size, "%s", co_error_text(vm->L));
        vm_close(&vm);
        return SD_EFAILED;
    }
    lua_settop(vm->L, 0);
    *out = vm;
    return 0;
}

static void on_owned(struct vm *vm)
{
    vm->schedule = schedule_open(vm);
    vm->on_started(vm->started_arg, 0, NULL);
    heir_look(&vm->heir);
}

static void start_ended(struct co *co, int status)
{
    struct vm *vm = co->vm;
    bool failed = status != 0 || lua_type(co->L, 1) == LUA_TSTRING;

    if (failed)
        vm->on_started(vm->started_arg, SD_EFAILED, co_error_text(co->L));
    else
        heir_start(&vm->heir, on_owned);
}

void vm_start(struct vm *vm, vm_started_fn *on_started, void *arg)
{
    struct co *co;

    sd_check(vm, VM_MAGIC);
    vm->on_started = on_started;
    vm->started_arg = arg;
    co = vm_enter(vm, vm->entry[ENTRY_START], CO_WORK, 0);
    if (co == NULL) {
        on_started(arg, SD_EFAILED, "not enough memory");
        return;
    }
    co->on_end = start_ended;
    co_start(co, 0);
}

static void stop_ended(struct co *co, int status)
{
    struct vm *vm = co->vm;

    if (status != 0)
        log_error("on_stop: %s", co_error_text(co->L));
    vm->on_stopped(vm->stopped_arg);
}

void vm_stop(struct vm *vm, vm_stopped_fn *on_stopped, void *arg)
{
    struct co *co;

    sd_check(vm, VM_MAGIC);
    vm->on_stopped = on_stopped;
    vm->stopped_arg = arg;
    schedule_close(&vm->schedule);
    co = vm_enter(vm, vm->entry[ENTRY_STOP], CO_WORK,
                  vm->env.conf->server.call_timeout);
    if (co == NULL) {
        on_stopped(arg);
        return;
    }
    co->on_end = stop_ended;
    co_start(co, 0);
}

void vm_tell_end(struct vm *vm, uint64_t id)
{
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->entry[ENTRY_ENDED]);
    lua_pushnumber(vm->L, (double)id);
    if (lua_pcall(vm->L, 1, 0, 0) != 0) {
        log_error("end of a call: %s", co_error_text(vm->L));
        lua_pop(vm->L, 1);
    }
}

static enum mesh_verdict on_msg(void *data, const struct mesh_msg *m)
{
    struct vm *vm = data;

    sd_check(vm, VM_MAGIC);
    switch (m->type) {
    case MSG_TASK_CALL:
        return tasks_on_call(vm, m);
    case MSG_UID_CALL:
        uidcalls_take(vm, m);
        break;
    case MSG_UID_REPLY:
    case MSG_TASK_REPLY:
        tasks_on_reply(vm, m);
        break;
    case MSG_SEND:
    case MSG_PUBLISH:
    case MSG_GROUP:
    case MSG_CLOSE_CONN:
    case MSG_SEND_UIDS:
    case MSG_KICK:
    case MSG_MISSED:
    case MSG_FOLLOW:
    case MSG_MOVE_END:
        people_on_msg(vm, m);
        break;
    case MSG_MOVE:
        moves_take(vm, m);
        break;
    case MSG_MOVED:
        moves_on_end(vm, m);
        break;
    case MSG_DOOR:
        doors_on_msg(vm, m);
        break;
    case MSG_TASK_CANCEL:
        tasks_on_cancel(vm, m);
        break;
    default:
        log_warn("message of type %u from slot %u: not for this process",
                 m->type, m->from);
    }
    return MESH_DONE;
}

static void on_back(void *data, const struct mesh_msg *m)
{
    tasks_on_back(data, m);
    people_on_back(data, m);
}

static void on_gone(void *data, unsigned slot, uint16_t epoch)
{
    struct vm *vm = data;

    tasks_on_gone(vm, slot, epoch);
    uidcalls_on_gone(&vm->uidcalls, slot, epoch);
    moves_on_gone(vm, slot, epoch);
    heir_look(&vm->heir);
    doors_on_gone(vm, slot, epoch);
}

void vm_mesh_hooks(struct vm *vm, struct mesh_hooks *out)
{
    *out = (struct mesh_hooks){
        .on_msg = on_msg, .on_back = on_back, .on_gone = on_gone, .data = vm};
}

unsigned vm_calls(const struct vm *vm)
{
    return vm->cos.calls;
}

uint64_t vm_memory(const struct vm *vm)
{
    return heap_used(vm->heap);
}

void vm_count(const struct vm *vm, uint64_t *counters)
{
    const struct people_counters *c = &vm->people->counters;

    counters[COUNT_SENDS_ACCEPTED] = c->accepted;
    counters[COUNT_SENDS_DELIVERED] = c->delivered;
    counters[COUNT_SENDS_GONE] = c->gone;
    counters[COUNT_SENDS_INVALID] = c->invalid;
    counters[COUNT_SENDS_SLOW] = c->slow;
    counters[COUNT_SENDS_BUSY] = c->busy;
    counters[COUNT_ENCODED] = c->encoded;
    counters[COUNT_TASK_CALLS] = vm->tasks->taken;
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

void vm_close(struct vm **vp)
{
    struct vm *vm = *vp;

    if (vm == NULL)
        return;
    sd_check(vm, VM_MAGIC);
    *vp = NULL;
    end_requests(vm);
    schedule_close(&vm->schedule);
    redis_unbind(vm);
    loop_hook_del(&vm->hook);
    if (vm->L != NULL)
        lua_close(vm->L);
    heap_free(&vm->heap);
    cos_fini(vm);
    doors_free(&vm->doors);
    tasks_free(&vm->tasks);
    moves_free(&vm->moves);
    people_free(&vm->people);
    reach_free(&vm->reach);
    kicks_fini(&vm->kicks);
    uidcalls_fini(&vm->uidcalls);
    deliveries_free(&vm->deliveries);
    buf_fini(&vm->scratch);
    mem_free(vm->ports);
    vm->magic = 0;
    mem_free(vm);
}
