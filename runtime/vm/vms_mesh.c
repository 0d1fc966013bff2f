/* vms_mesh.c - messages of other processes, and the end of those: to whom of
 * the vms, or of what they share, they go. */
#include "vm/vms.h"

#include "base/assert.h"
#include "base/log.h"
#include "ipc/msg.h"
#include "vm/door.h"
#include "vm/move.h"
#include "vm/state.h"
#include "vm/task.h"

/* Does this message begin a call of a script? */
static bool is_call(uint32_t type)
{
    return type == MSG_TASK_CALL || type == MSG_DOOR;
}

/* Nothing begins in old code: here is the last moment to see a commit.  What
 * cannot follow one, as a task that was busy when it was voted on, begins
 * nothing more; what it leaves in its rings comes back to the callers. */
static bool may_begin(struct vms *a)
{
    struct mesh *m = a->env.mesh;

    vms_look_for_commit(a);
    return !a->is_switching && slots_get(mesh_slots(m), mesh_master(m),
                                         SLOT_GENERATION) <= a->env.generation;
}

/* Is it for people.h, or what they have? */
static bool is_of_people(uint32_t type)
{
    switch (type) {
    case MSG_SEND:
    case MSG_PUBLISH:
    case MSG_GROUP:
    case MSG_CLOSE_CONN:
    case MSG_SEND_UIDS:
    case MSG_KICK:
    case MSG_MISSED:
    case MSG_FOLLOW:
    case MSG_MOVE_END:
    case MSG_EVENT:
    case MSG_ABROAD:
        return true;
    default:
        return false;
    }
}

static enum mesh_verdict on_msg(void *data, const struct mesh_msg *m)
{
    struct vms *a = data;
    struct vm *vm;

    sd_check(a, VMS_MAGIC);
    if (is_call(m->type) && !m->dead && !may_begin(a))
        return MESH_HOLD; /* what the dead have sent cannot wait */
    vm = vms_now(a);
    if (is_of_people(m->type)) {
        people_on_msg(vm, m);
        return MESH_DONE;
    }
    switch (m->type) {
    case MSG_TASK_CALL:
        return tasks_on_call(a->tasks, m);
    case MSG_UID_CALL:
        uidcalls_take(vm, m);
        break;
    case MSG_UID_REPLY:
    case MSG_TASK_REPLY:
        tasks_on_reply(a->tasks, m);
        break;
    case MSG_MOVE:
        return moves_take(vm, m);
    case MSG_MOVED:
        moves_on_end(vm, m);
        break;
    case MSG_DOOR:
        doors_on_msg(vm, m);
        break;
    case MSG_TASK_CANCEL:
        tasks_on_cancel(a->tasks, m);
        break;
    default:
        log_warn("message of type %u from slot %u: not for this process",
                 m->type, m->from);
    }
    return MESH_DONE;
}

static void on_back(void *data, const struct mesh_msg *m)
{
    struct vms *a = data;

    tasks_on_back(a->tasks, m);
    people_on_back(vms_now(a), m);
}

static void on_gone(void *data, unsigned slot, uint16_t epoch)
{
    struct vms *a = data;

    tasks_on_gone(a->tasks, slot, epoch);
    uidcalls_on_gone(&a->uidcalls, slot, epoch);
    moves_on_gone(vms_now(a), slot, epoch);
    heir_look(&a->heir);
    doors_on_gone(a, slot, epoch);
}

void vms_mesh_hooks(struct vms *a, struct mesh_hooks *out)
{
    *out = (struct mesh_hooks){
        .on_msg = on_msg, .on_back = on_back, .on_gone = on_gone, .data = a};
}
