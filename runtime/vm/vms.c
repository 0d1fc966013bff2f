/* vms.c - see vms.h.
 *
 * Made, built, asked, ended; vms_switch.c lets the next one take over,
 * vms_mesh.c hands on what comes from other processes, vms_people.c what
 * becomes of uids. */
#include "vm/vms.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/running.h"
#include "net/reason.h"
#include "vm/abroad.h"
#include "vm/door.h"
#include "vm/event.h"
#include "vm/heap.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/schedule.h"
#include "vm/task.h"
#include "vm/task_state.h"
#include "vm/watchdog.h"

enum {
    TEXT = 4000 /* bytes of a build's error */
};

/* --- what all vms share --------------------------------------------------- */

static bool on_turn(struct loop_hook *hook)
{
    struct vms *a = list_entry(hook, struct vms, hook);

    kicks_turn(&a->kicks);
    reach_turn(a->reach);
    abroad_turn(a->abroad);
    if (a->env.role == VM_TASK)
        tasks_look_ahead(a->tasks);
    return events_turn(a->events);
}

static void on_load(struct loop_job *job);

struct vms *vms_new(const struct vm_env *env)
{
    struct vms *a = mem_zalloc(sizeof(*a));

    a->magic = VMS_MAGIC;
    a->env = *env;
    list_init(&a->retired);
    a->load.fn = on_load;
    vms_open_people(a);
    a->tasks = tasks_new(a);
    a->doors = doors_new(a);
    a->reach = reach_new(a);
    a->moves = moves_new(a);
    a->events = events_new(a);
    kicks_init(&a->kicks, a);
    uidcalls_init(&a->uidcalls);
    heir_init(&a->heir, a);
    a->hook.fn = on_turn;
    a->hook.rank = LOOP_WORK;
    loop_hook_add(env->loop, &a->hook);
    note_open(a);
    return a;
}

void vms_free(struct vms **vp)
{
    struct vms *a = *vp;

    if (a == NULL)
        return;
    sd_check(a, VMS_MAGIC);
    *vp = NULL;
    note_close();
    a->is_switching = false;
    vms_drop(a);
    while (!list_empty(&a->retired)) {
        struct vm *vm = list_entry(a->retired.next, struct vm, link);

        vm_close(&vm);
    }
    while (a->nclosing > 0)
        loop_turn(a->env.loop, true); /* others bring what a vm has to take */
    vm_close(&a->current);
    loop_hook_del(&a->hook);
    doors_free(&a->doors);
    tasks_free(&a->tasks);
    moves_free(&a->moves);
    events_free(&a->events);
    abroad_free(&a->abroad);
    people_free(&a->people);
    reach_free(&a->reach);
    kicks_fini(&a->kicks);
    uidcalls_fini(&a->uidcalls);
    buf_fini(&a->kept);
    a->magic = 0;
    mem_free(a);
}

/* --- building ------------------------------------------------------------- */

/* The one that `a` builds: of a process that starts it is the current one. */
static struct vm *built(const struct vms *a)
{
    return a->next != NULL ? a->next : a->current;
}

static void fail(struct vms *a, const char *text)
{
    struct vm **vp = a->next != NULL ? &a->next : &a->current;

    if (vp == &a->next)
        vm_close(vp); /* the first one may be asked still: vms_free() */
    a->on_built(a->built_arg, SD_EFAILED, text);
}

static void on_owned(struct vms *a)
{
    struct vm *vm = a->current;

    vm->state = VM_SERVING;
    vm_settle_watchdog(vm);
    vm->schedule = schedule_open(vm);
    a->on_built(a->built_arg, 0, NULL);
    heir_look(&a->heir);
}

static void start_ended(struct co *co, int status)
{
    struct vm *vm = co->vm;
    struct vms *a = vm->all;
    char text[TEXT];

    if (status != 0 || lua_type(co->L, 1) == LUA_TSTRING) {
        /* Not before the coroutine is done with: it is the vm's. */
        snprintf(text, sizeof(text), "%s", co_error_text(co->L));
        vm->boot_failed = true;
        buf_truncate(&vm->scratch, 0);
        buf_append(&vm->scratch, text, strlen(text) + 1);
        loop_defer(a->env.loop, &a->load);
    } else if (vm == a->current) {
        heir_start(&a->heir, on_owned);
    } else {
        vm->state = VM_STANDING_BY;
        a->on_built(a->built_arg, 0, NULL);
    }
}

static void start(struct vms *a, struct vm *vm)
{
    struct co *co = vm_enter(vm, vm->entry[ENTRY_START], CO_WORK, 0);

    vm->state = VM_STARTING;
    if (co == NULL) {
        fail(a, "not enough memory");
        return;
    }
    co->on_end = start_ended;
    co->what = RUNNING_HOOK;
    co->name = "on_start";
    co_start(co, 0);
}

static void on_load(struct loop_job *job)
{
    struct vms *a = list_entry(job, struct vms, load);
    struct vm *vm = built(a);
    char text[TEXT];
    int more;

    if (vm->boot_failed) {
        snprintf(text, sizeof(text), "%s", buf_slice(&vm->scratch).p);
        fail(a, text);
        return;
    }
    more = vm_load(vm, text, sizeof(text));
    if (more < 0)
        fail(a, text);
    else if (more > 0)
        loop_defer(a->env.loop, job);
    else
        start(a, vm);
}

void vms_build(struct vms *a, struct code *code, const char *why,
               vms_built_fn *on_built, void *arg)
{
    struct vm **vp = a->current == NULL ? &a->current : &a->next;
    char text[TEXT];

    sd_check(a, VMS_MAGIC);
    sd_assert(*vp == NULL);
    a->on_built = on_built;
    a->built_arg = arg;
    if (a->current == NULL) {
        a->env.generation = code->generation;
        a->abroad = abroad_new(a, code->conf);
    }
    if (vm_open(vp, a, code, why, text, sizeof(text)) < 0)
        on_built(arg, SD_EFAILED, text);
    else
        loop_defer(a->env.loop, &a->load);
}

bool vms_is_building(const struct vms *a)
{
    return a->next != NULL;
}

bool vms_can_switch(const struct vms *a)
{
    return a->current != NULL && a->current->state == VM_SERVING &&
           a->next == NULL && !a->is_resting;
}

bool vms_is_switching(const struct vms *a)
{
    return a->is_switching;
}

void vms_drop(struct vms *a)
{
    sd_check(a, VMS_MAGIC);
    loop_undefer(&a->load);
    a->is_awaiting = false;
    if (!a->is_switching)
        vm_close(&a->next);
}

/* --- the end -------------------------------------------------------------- */

static void stop_ended(struct co *co, int status)
{
    struct vms *a = co->vm->all;

    if (status != 0)
        log_error("on_stop: %s", co_error_text(co->L));
    a->on_stopped(a->stopped_arg);
}

void vms_rest(struct vms *a)
{
    sd_check(a, VMS_MAGIC);
    a->is_resting = true;
    schedule_close(&a->current->schedule);
    vms_drop(a);
}

bool vms_is_settled(const struct vms *a)
{
    return !a->is_switching && list_empty(&a->retired) &&
           abroad_count(a->abroad) == 0;
}

void vms_stop(struct vms *a, vms_stopped_fn *on_stopped, void *arg)
{
    struct vm *vm = vms_now(a);
    struct co *co;

    sd_check(a, VMS_MAGIC);
    a->on_stopped = on_stopped;
    a->stopped_arg = arg;
    vms_rest(a);
    co = vm_enter(vm, vm->entry[ENTRY_STOP], CO_WORK,
                  vm->env.conf->server.call_timeout);
    if (co == NULL) {
        on_stopped(arg);
        return;
    }
    co->on_end = stop_ended;
    co->what = RUNNING_HOOK;
    co->name = "on_stop";
    co_start(co, 0);
}

/* --- figures -------------------------------------------------------------- */

unsigned vms_retired(const struct vms *a)
{
    struct list *it;
    unsigned n = a->nclosing;

    list_each (it, &a->retired)
        n++;
    return n;
}

bool vms_is_short(const struct vms *a)
{
    return garbage_is_short(&a->current->garbage);
}

unsigned vms_calls(const struct vms *a)
{
    struct list *it;
    unsigned n = a->current->cos.calls;

    list_each (it, &a->retired)
        n += list_entry(it, struct vm, link)->cos.calls;
    return n;
}

uint64_t vms_memory(const struct vms *a)
{
    uint64_t n = heap_used(a->current->heap);
    struct list *it;

    if (a->next != NULL)
        n += heap_used(a->next->heap);
    list_each (it, &a->retired)
        n += heap_used(list_entry(it, struct vm, link)->heap);
    return n;
}

unsigned vms_generation(const struct vms *a)
{
    return a->env.generation;
}

void vms_count(const struct vms *a, uint64_t *counters)
{
    const struct people_counters *c = &a->people->counters;

    counters[COUNT_SENDS_ACCEPTED] = c->accepted;
    counters[COUNT_SENDS_DELIVERED] = c->delivered;
    counters[COUNT_SENDS_GONE] = c->gone;
    counters[COUNT_SENDS_INVALID] = c->invalid;
    counters[COUNT_SENDS_SLOW] = c->slow;
    counters[COUNT_SENDS_BUSY] = c->busy;
    counters[COUNT_ENCODED] = c->encoded;
    counters[COUNT_STOPPED] = watchdog_count();
    counters[COUNT_TASK_CALLS] = a->tasks->taken;
    abroad_add_counters(a->abroad, counters);
}
