/* task.c - loop and vm, no conns.
 *
 * Peers: the master by the leash (dispatch below); workers by the mesh, whose
 * calls the vm takes one at a time. */
#include "proc/task.h"
#include "base/assert.h"
#include "proc/child.h"
#include "proc/process.h"

enum {
    DRAIN_LOOK = 10, /* ms between two looks at what is left */
};

struct task {
    struct process process;
    struct timer look;
};

static void on_look(struct timer *t)
{
    struct task *task = list_entry(t, struct task, look);

    if (vms_calls(task->process.vms) == 0 && vms_is_settled(task->process.vms))
        process_finish(&task->process);
    else
        timer_start(task->process.loop, t, DRAIN_LOOK);
}

static void on_leash(struct process *p, const struct leash_msg *m)
{
    struct task *task = list_entry(p, struct task, process);

    switch ((enum leash_type)m->type) {
    case LEASH_DRAIN:
        slots_set_state(p->slots, p->h->slot, SLOT_DRAINING);
        vms_rest(p->vms);
        timer_start(p->loop, &task->look, 1);
        break;
    default:
        sd_panic(__FILE__, __LINE__, __func__, "no message for a task");
    }
}

int task_run(const struct heritage *h)
{
    struct task task = {
        .process = {.on_started = process_ready, .on_leash = on_leash},
        .look = {.fn = on_look},
    };

    if (process_open(&task.process, h) < 0)
        return CHILD_FAILED;
    process_start(&task.process);
    return process_run(&task.process);
}
