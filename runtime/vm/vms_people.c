/* vms_people.c - what people.h tells of uids, and who has to hear it: hooks and
 * lua/sd of the vm that serves, other workers, other nodes. */
#include "vm/vms.h"

#include "ipc/running.h"
#include "ipc/uidmap.h"
#include "net/reason.h"
#include "vm/abroad.h"
#include "vm/people.h"
#include "vm/state.h"

static void inherited_ended(struct co *co, int status)
{
    vm_log_end(co, status);
    heir_ended(&co->vm->all->heir);
}

static void end_told(struct co *co, int status)
{
    vm_log_end(co, status);
    uidmap_settle(co->vm->all->people->map, (uint32_t)co->number);
}

/* A binding has ended: tell on_uid_closed at the end of the turn. */
static bool on_binding_end(void *arg, uint32_t debt)
{
    struct vms *a = arg;
    struct vm *vm = vms_now(a);
    struct co *co = NULL;

    if (vm->has_end_hook)
        co = vm_enter(vm, vm->entry[ENTRY_UID_CLOSED], CO_CALL,
                      vm->env.conf->server.call_timeout);
    if (co == NULL)
        return false;
    co->on_end = debt != 0            ? end_told
                 : a->heir.is_in_page ? inherited_ended
                                      : vm_log_end;
    co->number = debt;
    co->what = RUNNING_HOOK;
    co->name = "on_uid_closed";
    heir_opened(&a->heir);
    co_ready(co, 0);
    return true;
}

static void on_rival(void *arg, const struct uidmap_binding *b)
{
    struct vms *a = arg;

    kicks_send(&a->kicks, b, reason_word(REASON_REPLACED));
}

static void on_doubt(void *arg, const struct member *m)
{
    struct vm *vm = vms_now(arg);
    struct co *co = vm_enter(vm, vm->entry[ENTRY_GROUPS], CO_CALL, 0);

    if (co == NULL)
        return; /* until the next change */
    co->on_end = vm_log_end;
    lua_pushnumber(co->L, vm_handle(m->conn));
    co_ready(co, 1);
}

static void on_left(void *arg, struct slice uid, uint64_t conn, uint64_t number)
{
    struct vms *a = arg;

    abroad_left(a->abroad, uid, conn, number);
}

void vms_open_people(struct vms *a)
{
    a->people = people_new();
    a->people->on_end = on_binding_end;
    a->people->on_rival = on_rival;
    a->people->on_doubt = on_doubt;
    a->people->on_left = on_left;
    a->people->arg = a;
    a->people->slot = a->env.slot;
    if (a->env.role == VM_WORKER)
        a->people->map = a->env.uids;
}
