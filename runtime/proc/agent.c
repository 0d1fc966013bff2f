/* agent.c - a loop with the admin port and membership, and no vm.
 *
 * Peers: the master by the leash (dispatch below); workers by the mesh, whose
 * answers proc/door.c takes; operators and back ends by HTTP, proc/admin.c; the
 * agents of other nodes and dispatches by datagrams, proc/membership.c.
 *
 * No conn of a client depends on it: when it dies the sockets stay, the
 * master's, and the next agent serves what waits there. */
#include "proc/agent.h"

#include "base/assert.h"
#include "base/log.h"
#include "net/net.h"
#include "proc/admin.h"
#include "proc/child.h"
#include "proc/membership.h"
#include "proc/process.h"
#include "proc/reply.h"
#include "proc/rolling.h"

enum {
    DRAIN_LOOK = 10, /* ms between two looks at what is left */
};

struct agent {
    struct process process;
    struct admin *admin;
    struct membership *membership; /* NULL: of no cluster */
    struct rolling *rolling;       /* the same */
    struct list replies;
    struct code *first; /* whose texts the admin port keeps */
    struct timer look;
};

static void on_look(struct timer *t)
{
    struct agent *a = list_entry(t, struct agent, look);

    bool has_left = a->membership == NULL || membership_leave(a->membership);

    if (net_conns(a->process.net) == 0 && admin_calls(a->admin) == 0 &&
        has_left)
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

static void say_draining(struct agent *a)
{
    if (a->membership != NULL)
        membership_drain(a->membership);
}

static void on_leash(struct process *p, const struct leash_msg *m)
{
    switch ((enum leash_type)m->type) {
    case LEASH_DRAIN:
        drain(list_entry(p, struct agent, process));
        break;
    case LEASH_LEAVE:
        say_draining(list_entry(p, struct agent, process));
        break;
    default:
        sd_panic(__FILE__, __LINE__, __func__, "no message for an agent");
    }
}

static void on_settled(void *arg)
{
    struct agent *a = arg;

    if (a->process.status == CHILD_DONE) /* not refused amid it */
        process_ready(&a->process);
}

/* One that comes while we serve is a partition that has healed: who of the two
 * has to go is for people to say. */
static void on_conflict(void *arg, const char *text)
{
    struct agent *a = arg;
    struct process *p = &a->process;

    if (slots_state(p->slots, p->h->slot) == SLOT_STARTING)
        process_refuse(p, text);
    else
        log_error("%s", text);
}

static void on_config(struct process *p)
{
    struct agent *a = list_entry(p, struct agent, process);

    if (a->membership != NULL)
        membership_take(a->membership);
}

static int on_roll(void *arg, struct slice bytes)
{
    struct agent *a = arg;

    return a->rolling != NULL ? rolling_take(a->rolling, bytes) : 0;
}

static void on_lost(void *arg, uint64_t boot, const char *how)
{
    struct agent *a = arg;

    if (a->rolling != NULL)
        rolling_lost(a->rolling, boot, how);
}

static void on_console(struct process *p, int fd, uint32_t what)
{
    struct agent *a = list_entry(p, struct agent, process);
    struct buf text = {0};

    if (what == AGENT_ROLL && a->rolling != NULL) {
        rolling_begin(a->rolling, fd);
        return;
    }
    if (a->membership != NULL)
        membership_json(a->membership, &text);
    buf_append_str(&text, "\n");
    reply_send(&a->replies, p->loop, fd, &text);
}

static void on_end(struct process *p)
{
    struct agent *a = list_entry(p, struct agent, process);

    reply_end(&a->replies);
    rolling_close(&a->rolling);
    admin_show_cluster(a->admin, NULL);
    membership_close(&a->membership);
}

static void join(struct agent *a)
{
    struct process *p = &a->process;
    struct membership_hooks hooks = {.on_settled = on_settled,
                                     .on_conflict = on_conflict,
                                     .on_roll = on_roll,
                                     .on_lost = on_lost,
                                     .arg = a};
    const char *why = NULL;

    if (p->h->cluster.gossip < 0)
        process_ready(p);
    else if (membership_open(&a->membership, p, &hooks, &why) < 0)
        process_refuse(p, why);
    if (a->membership == NULL)
        return;
    a->rolling = rolling_open(p, a->membership);
    admin_show_cluster(a->admin, a->membership);
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
    join(a);
}

int agent_run(const struct heritage *h)
{
    struct agent a = {.process = {.on_leash = on_leash,
                                  .on_config = on_config,
                                  .on_console = on_console,
                                  .on_end = on_end},
                      .look = {.fn = on_look}};
    int status;

    list_init(&a.replies);
    if (process_open(&a.process, h) < 0)
        return CHILD_FAILED;
    a.first = code_ref(a.process.code);
    start(&a);
    status = process_run(&a.process);
    admin_close(&a.admin);
    code_unref(&a.first);
    return status;
}
