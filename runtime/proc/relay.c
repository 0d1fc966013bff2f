/* relay.c - a loop that carries messages between the workers of all nodes.
 *
 * Peers: the master by the leash (dispatch below); the agent by the mesh;
 * workers, also of our own node, by links. */
#include "proc/relay.h"
#include "base/assert.h"
#include "proc/child.h"
#include "proc/process.h"

struct relay {
    struct process process;
};

static enum mesh_verdict on_msg(void *data, const struct mesh_msg *m)
{
    (void)data;
    (void)m;
    return MESH_DONE;
}

static void on_leash(struct process *p, const struct leash_msg *m)
{
    switch ((enum leash_type)m->type) {
    case LEASH_DRAIN:
        slots_set_state(p->slots, p->h->slot, SLOT_DRAINING);
        process_finish(p);
        break;
    default:
        sd_panic(__FILE__, __LINE__, __func__, "no message for a relay");
    }
}

int relay_run(const struct heritage *h)
{
    struct relay r = {.process = {.on_leash = on_leash}};
    struct mesh_hooks hooks = {.on_msg = on_msg, .data = &r};

    if (process_open(&r.process, h) < 0)
        return CHILD_FAILED;
    process_join(&r.process, &hooks);
    process_ready(&r.process);
    return process_run(&r.process);
}
