/* vms_switch.c - how the next vm takes over.
 *
 * With the net held, so that what clients send waits: the old vm's background
 * work ends, save() runs in it, restore() in the new one, and then the new one
 * is `current`, which is all that being the one that serves means.  Nothing of
 * it can fail: a hook that raises is logged.
 *
 * Calls of tasks wait meanwhile in their rings, as clients' bytes do.  What
 * other workers ask about uids and topics is answered by what all vms share and
 * waits for nothing: hooks of two workers may ask each other. */
#include "vm/vms.h"

#include "base/assert.h"
#include "base/log.h"
#include "ipc/running.h"
#include "net/net.h"
#include "vm/abroad.h"
#include "vm/event.h"
#include "vm/schedule.h"
#include "vm/state.h"
#include "vm/task.h"
#include "vm/watchdog.h"

enum {
    LAST_TURNS = 16 /* of background work that has been cancelled */
};

void vm_settle_watchdog(struct vm *vm)
{
    if (vm_is_watched(vm)) {
        watchdog_own(vm->L, vm->max_run);
    } else {
        vm->max_run = 0;
        watchdog_forget(vm->L);
    }
}

static void keep_packs(struct vm *vm)
{
    lua_pushcfunction(vm->L, vm_keep_packs);
    if (lua_pcall(vm->L, 0, 0, 0) == 0)
        return;
    log_error("packs of older conns: %s", co_error_text(vm->L));
    lua_pop(vm->L, 1);
}

static void take_net(struct vms *a, struct vm *vm)
{
    const char *why = NULL;
    int err;

    if (a->env.net == NULL)
        return;
    err = net_set_conf(a->env.net, vm->env.conf, &why);
    sd_assert(err == 0); /* conf_build() has looked */
    for (unsigned i = 0; i < vm->nports; i++)
        vm->ports[i].format = net_format(a->env.net, i);
    keep_packs(vm);
}

static void finish_switch(struct vms *a)
{
    struct vm *old = a->current, *vm = a->next;

    a->next = NULL;
    a->current = vm;
    a->is_switching = false;
    a->env.generation = vm->env.generation;
    log_generation(vm->env.generation);
    vm->state = VM_SERVING;
    vm_settle_watchdog(vm);
    take_net(a, vm);
    abroad_take(a->abroad, vm->env.conf);
    events_switched(a->events);
    vm_hold_conns(old);
    list_add(&a->retired, &old->link);
    vm_limit(old);
    cos_wake_dormant(vm);
    if (!a->is_resting)
        vm->schedule = schedule_open(vm);
    if (a->env.net != NULL)
        net_unhold(a->env.net);
    mesh_resume(a->env.mesh);
    a->on_switched(a->switched_arg);
}

static void restore_ended(struct co *co, int status)
{
    struct vms *a = co->vm->all;

    vm_log_end(co, status);
    buf_fini(&a->kept);
    finish_switch(a);
}

/* Run a hook that takes part in a switch; its end goes on, whatever it was.
 * False: out of memory. */
static bool run_hook(struct vm *vm, enum vm_entry entry, co_end_fn *on_end)
{
    struct co *co = vm_enter(vm, vm->entry[entry], CO_WORK,
                             vm->env.conf->server.call_timeout);

    if (co == NULL)
        return false;
    co->on_end = on_end;
    co->what = RUNNING_HOOK;
    co->name = entry == ENTRY_SAVE ? "save" : "restore";
    co_start(co, 0);
    return true;
}

static void restore(struct vms *a)
{
    if (a->kept.len == 0 || !run_hook(a->next, ENTRY_RESTORE, restore_ended))
        finish_switch(a);
}

static void save_ended(struct co *co, int status)
{
    vm_log_end(co, status);
    restore(co->vm->all);
}

/* What was cancelled ends before save() looks at what it leaves.  A script that
 * goes on in spite of it is not waited for. */
static void end_background(struct vm *vm)
{
    for (unsigned i = 0; i < LAST_TURNS && co_flush(vm) > 0; i++)
        ;
}

void vms_switch(struct vms *a, void (*on_switched)(void *arg), void *arg)
{
    sd_check(a, VMS_MAGIC);
    sd_assert(a->next != NULL && a->next->state == VM_STANDING_BY);
    a->is_awaiting = false;
    a->is_switching = true;
    a->on_switched = on_switched;
    a->switched_arg = arg;
    if (a->env.net != NULL)
        net_hold(a->env.net);
    vm_retire(a->current);
    end_background(a->current);
    if (!run_hook(a->current, ENTRY_SAVE, save_ended))
        restore(a);
}

void vms_await_commit(struct vms *a, unsigned vote,
                      void (*on_switched)(void *arg), void *arg)
{
    sd_check(a, VMS_MAGIC);
    sd_assert(a->next != NULL && a->next->state == VM_STANDING_BY);
    a->is_awaiting = true;
    a->vote = vote;
    a->on_switched = on_switched;
    a->switched_arg = arg;
}

bool vms_look_for_commit(struct vms *a)
{
    struct mesh *m = a->env.mesh;

    if (!a->is_awaiting || a->is_resting ||
        slots_get(mesh_slots(m), mesh_master(m), SLOT_VOTE) != a->vote)
        return false;
    vms_switch(a, a->on_switched, a->switched_arg);
    return true;
}
