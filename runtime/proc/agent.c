/* agent.c - a loop with the admin port, and no vm.
 *
 * Peers: the master by the leash (dispatch below); workers by the mesh, whose
 * answers proc/door.c takes; operators and back ends by HTTP, proc/admin.c.
 *
 * No conn of a client depends on it: when it dies the socket stays, the
 * master's, and the next agent serves what waits there. */
#include "proc/agent.h"

#include "base/assert.h"
#include "base/log.h"
#include "net/net.h"
#include "proc/admin.h"
#include "proc/child.h"
#include "proc/process.h"

enum {
    DRAIN_LOOK = 10, /* ms between two looks at what is left */
};

struct agent {
    struct process process;
    struct admin *admin;
    struct code *first; /* whose texts the admin port keeps */
    struct timer look;
};

static void on_look(struct timer *t)
{
    struct agent *a = list_entry(t, struct agent, look);

    if (net_conns(a->process.net) == 0 && admin_calls(a->admin) == 0)
        process_finish(&a->process);
    else
        timer_start(a->process.loop, t, DRAIN_LOOK);
}

static void drain(struct agent *a)
{
    struct process *p = &a->process;

    if (slots_state(p->slots, p->h->slot) == SLOT_DRAINING)
        return;
    slots_set_state(p->slots, p->h->slot, SLOT_DRAINING);
    net_stop_accepting(p->net);
    net_close_conns(p->net, reason_word(REASON_STOP));
    timer_start(p->loop, &a->look, 1);
}

static void on_leash(struct process *p, const struct leash_msg *m)
{
    switch ((enum leash_type)m->type) {
    case LEASH_DRAIN:
        drain(list_entry(p, struct agent, process));
        break;
    default:
        sd_panic(__FILE__, __LINE__, __func__, "no message for an agent");
    }
}

static void start(struct agent *a)
{
    struct process *p = &a->process;
    struct mesh_hooks hooks;
    const char *why = NULL;

    if (admin_open(&a->admin, p, &why) < 0) {
        process_refuse(p, why);
        return;
    }
    admin_mesh_hooks(a->admin, &hooks);
    process_join(p, &hooks);
    process_ready(p);
}

int agent_run(const struct heritage *h)
{
    struct agent a = {.process = {.on_leash = on_leash},
                      .look = {.fn = on_look}};
    int status;

    if (process_open(&a.process, h) < 0)
        return CHILD_FAILED;
    a.first = code_ref(a.process.code);
    start(&a);
    status = process_run(&a.process);
    admin_close(&a.admin);
    code_unref(&a.first);
    return status;
}
