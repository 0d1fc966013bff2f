/* process.c - opened in order, closed in reverse; either may stop half way.
 *
 * The mesh is looked at by the loop's last hook: a turn is over when neither
 * sockets nor rings have anything, and only then does the mesh let itself be
 * woken by its eventfd.
 *
 * A leash at its end means that the master is gone; then nothing here has a
 * purpose, and the process leaves at once. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "ipc/uidmap.h"
#include "loop/pollfd.h"
#include "net/net.h"
#include "proc/child.h"
#include "proc/figures.h"
#include "proc/logfile.h"
#include "proc/process.h"
#include "proc/process_code.h"
#include "proc/tables.h"

enum {
    PROCESS_MAGIC = 0x70726f63,
    HEARTBEAT = 250, /* ms */
    MESH_BATCH = 256,
};

/* --- mesh and leash ------------------------------------------------------- */

static bool on_turn(struct loop_hook *hook)
{
    struct process *p = list_entry(hook, struct process, mesh_hook);

    mesh_after_wake(p->mesh);
    if (p->vms != NULL && vms_look_for_commit(p->vms))
        return true;
    mesh_ring_doors(p->mesh);
    if (mesh_poll(p->mesh, MESH_BATCH) > 0)
        return true;
    return !mesh_before_sleep(p->mesh);
}

static void on_wake(void *arg)
{
    struct process *p = arg;

    sd_check(p, PROCESS_MAGIC);
    mesh_on_wake(p->mesh);
}

static void reopen_log(const struct process *p)
{
    if (p->h->log[0] != '\0')
        logfile_reopen(p->h->log_fd, p->h->log, NULL, false);
}

/* Takes the descriptor. */
static void open_console(struct process *p, int fd, uint32_t what)
{
    if (fd < 0)
        return;
    if (p->vms != NULL)
        vms_console(p->vms, fd);
    else if (p->on_console != NULL)
        p->on_console(p, fd, what);
    else
        close(fd);
}

/* Takes the descriptor. */
static void dispatch(struct process *p, const struct leash_msg *m, int fd)
{
    switch ((enum leash_type)m->type) {
    case LEASH_REOPEN_LOG:
        reopen_log(p);
        break;
    case LEASH_BUILD:
        process_build(p, m, fd);
        break;
    case LEASH_CONSOLE:
        open_console(p, fd, m->number);
        return;
    case LEASH_DROP:
        process_drop(p, m->number);
        break;
    case LEASH_COMMIT: /* it has woken us; see vms_look_for_commit() */
        if (p->vms == NULL)
            process_take_config(p, m->number, fd);
        break;
    default:
        p->on_leash(p, m);
    }
    if (fd >= 0)
        close(fd);
}

static void on_leash(void *arg)
{
    struct process *p = arg;
    struct leash_msg m;
    int n, fd;

    sd_check(p, PROCESS_MAGIC);
    while ((n = leash_receive_fd(p->h->leash, &m, &fd)) > 0)
        dispatch(p, &m, fd);
    if (n < 0) {
        log_warn("the master is gone");
        _exit(CHILD_FAILED);
    }
}

/* --- heartbeat ------------------------------------------------------------ */

static void on_heartbeat(struct timer *t)
{
    struct process *p = list_entry(t, struct process, heartbeat);
    uint64_t now = clock_ms();

    figures_publish(p, now > t->due ? now - t->due : 0);
    if (p->vms != NULL)
        process_look_at_memory(p, now);
    timer_start(p->loop, t, HEARTBEAT);
}

/* --- open ----------------------------------------------------------------- */

static int open_loop(struct process *p)
{
    int err = loop_open(&p->loop);

    if (err == 0)
        err = pollfd_open(&p->leash_watch, p->loop, p->h->leash, on_leash, p);
    if (err == 0)
        err =
            pollfd_open(&p->mesh_watch, p->loop, mesh_fd(p->mesh), on_wake, p);
    if (err < 0)
        return err;
    p->heartbeat.fn = on_heartbeat;
    timer_start(p->loop, &p->heartbeat, HEARTBEAT);
    return 0;
}

static void close_all(struct process *p)
{
    if (p->loop != NULL) {
        timer_stop(p->loop, &p->heartbeat);
        process_rest_code(p);
        if (p->mesh_hook.fn != NULL)
            loop_hook_del(&p->mesh_hook);
    }
    vms_free(&p->vms);
    net_close(&p->net);
    pollfd_close(&p->mesh_watch);
    pollfd_close(&p->leash_watch);
    if (p->loop != NULL)
        loop_close(&p->loop);
    tally_close(&p->tally);
    port_counters_end(&p->port_counters);
    uidmap_close(&p->uids);
    mesh_close(&p->mesh);
    process_end_code(p);
    p->magic = 0;
}

int process_open(struct process *p, const struct heritage *h)
{
    const char *why = "the mesh cannot be joined";
    int err = leash_wait_go(h->leash);

    if (err < 0)
        return err;
    p->magic = PROCESS_MAGIC;
    p->h = h;
    p->wanted_fd = -1;
    err = mesh_attach(&p->mesh, h->mesh, h->mesh_count, h->slot);
    if (err < 0)
        goto fail;
    p->slots = mesh_slots(p->mesh);
    p->uids = uidmap_attach(tables_uids(p->mesh), p->slots, h->slot,
                            (uint16_t)h->epoch);
    counters_begin(&p->counters, mesh_counters(p->mesh, h->slot));
    err = code_open(&p->code, h->bundle, h->generation, &why);
    if (err < 0)
        goto fail;
    p->conf = p->code->conf;
    process_open_log(p);
    why = "the loop cannot be made";
    err = open_loop(p);
    if (err < 0)
        goto fail;
    return 0;

fail:
    leash_send(h->leash, LEASH_REFUSED, 0, why);
    close_all(p);
    return err;
}

/* --- start ---------------------------------------------------------------- */

static void on_built(void *arg, int err, const char *text)
{
    struct process *p = arg;

    sd_check(p, PROCESS_MAGIC);
    if (err < 0)
        process_refuse(p, text);
    else
        p->on_started(p);
}

void process_join(struct process *p, const struct mesh_hooks *hooks)
{
    mesh_set_hooks(p->mesh, hooks);
    if (p->h->role != ROLE_TASK) /* which runs long */
        mesh_set_lazy(p->mesh);
    p->mesh_hook = (struct loop_hook){.fn = on_turn, .rank = LOOP_FLUSH + 1};
    loop_hook_add(p->loop, &p->mesh_hook);
}

void process_start(struct process *p)
{
    struct mesh_hooks hooks;
    struct vm_env env = {
        .role = p->h->role == ROLE_TASK ? VM_TASK : VM_WORKER,
        .slot = p->h->slot,
        .epoch = p->h->epoch,
        .index = p->h->index,
        .boot = p->h->boot,
        .node = p->h->node,
        .loop = p->loop,
        .mesh = p->mesh,
        .net = p->net,
        .timers = tables_timers(p->mesh),
        .uids = p->uids,
        .embedded_redis = p->h->redis,
    };

    if (p->h->cluster.gossip >= 0) {
        env.roster = tables_roster(p->mesh, p->conf);
        env.links = tables_links(p->mesh, p->conf, p->h->slot);
        env.elsewhere = tables_elsewhere(p->mesh, p->conf);
    }
    if (env.role == VM_WORKER)
        env.running = tables_running(p->mesh, p->conf, p->h->slot);
    p->vms = vms_new(&env);
    vms_mesh_hooks(p->vms, &hooks);
    vms_build(p->vms, p->code, p->h->respawn ? "respawn" : "start", on_built,
              p);
    if (p->status == CHILD_DONE)
        process_join(p, &hooks);
}

void process_ready(struct process *p)
{
    figures_publish(p, 0);
    slots_set_state(p->slots, p->h->slot, SLOT_READY);
    leash_send(p->h->leash, LEASH_READY, 0, NULL);
}

void process_refuse(struct process *p, const char *why)
{
    leash_send(p->h->leash, LEASH_REFUSED, 0, why);
    p->status = CHILD_FAILED;
    loop_stop(p->loop);
}

static void on_stopped(void *arg)
{
    struct process *p = arg;

    sd_check(p, PROCESS_MAGIC);
    loop_stop(p->loop);
}

void process_finish(struct process *p)
{
    if (p->vms != NULL)
        vms_stop(p->vms, on_stopped, p);
    else
        loop_stop(p->loop);
}

int process_run(struct process *p)
{
    if (p->status == CHILD_DONE)
        loop_run(p->loop);
    if (p->on_end != NULL)
        p->on_end(p);
    close_all(p);
    return p->status;
}
