/* process.c - opened in order, closed in reverse; either may stop half way.
 *
 * The mesh is looked at by the loop's last hook: a turn is over when neither
 * sockets nor rings have anything, and only then does the mesh let itself be
 * woken by its eventfd.
 *
 * A leash at its end means that the master is gone; then nothing here has a
 * purpose, and the process leaves at once. */
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
#include "proc/tables.h"

enum {
    PROCESS_MAGIC = 0x70726f63,
    HEARTBEAT = 250, /* ms */
    MESH_BATCH = 256,
    WHY_SIZE = LEASH_TEXT,
};

/* --- mesh and leash --------------------------------------------------------- */

static bool on_turn(struct loop_hook *hook)
{
    struct process *p = list_entry(hook, struct process, mesh_hook);

    mesh_after_wake(p->mesh);
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

static void open_console(struct process *p, int fd)
{
    if (p->vm != NULL && fd >= 0)
        vm_console(p->vm, fd);
    else if (fd >= 0)
        close(fd);
}

static void on_leash(void *arg)
{
    struct process *p = arg;
    struct leash_msg m;
    int n;

    sd_check(p, PROCESS_MAGIC);
    while ((n = leash_receive(p->h->leash, &m)) > 0) {
        if (m.type == LEASH_REOPEN_LOG) {
            if (p->h->log[0] != '\0')
                logfile_reopen(p->h->log_fd, p->h->log, NULL, false);
        } else if (m.type == LEASH_CONSOLE) {
            open_console(p, m.fd);
        } else {
            p->on_leash(p, &m);
        }
    }
    if (n < 0) {
        log_warn("the master is gone");
        _exit(CHILD_FAILED);
    }
}

/* --- heartbeat --------------------------------------------------------------- */

static void on_heartbeat(struct timer *t)
{
    struct process *p = list_entry(t, struct process, heartbeat);
    uint64_t now = clock_ms();

    figures_publish(p, now > t->due ? now - t->due : 0);
    timer_start(p->loop, t, HEARTBEAT);
}

/* --- open -------------------------------------------------------------------- */

static int open_conf(struct process *p, const char **why)
{
    struct slice entries;
    int err = bundle_open(&p->bundle, p->h->bundle);

    *why = "the bundle cannot be read";
    if (err < 0)
        return err;
    if (!bundle_get(p->bundle, "conf", &entries))
        return SD_EPROTO;
    return conf_open(&p->conf, entries, why);
}

static void open_log(const struct process *p)
{
    char name[32];

    slots_name(name, sizeof(name), p->slots, p->h->slot);
    log_open(p->h->log_fd, (enum log_level)p->conf->log.level,
             p->conf->log.json, name);
    log_generation(p->h->generation);
}

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
        if (p->mesh_hook.fn != NULL)
            loop_hook_del(&p->mesh_hook);
    }
    vm_close(&p->vm);
    net_close(&p->net);
    pollfd_close(&p->mesh_watch);
    pollfd_close(&p->leash_watch);
    if (p->loop != NULL)
        loop_close(&p->loop);
    tally_close(&p->tally);
    port_counters_end(&p->port_counters);
    uidmap_close(&p->uids);
    mesh_close(&p->mesh);
    conf_close(&p->conf);
    bundle_close(&p->bundle);
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
    err = mesh_attach(&p->mesh, h->mesh, h->mesh_count, h->slot);
    if (err < 0)
        goto fail;
    p->slots = mesh_slots(p->mesh);
    p->uids = uidmap_attach(tables_uids(p->mesh), p->slots, h->slot,
                            (uint16_t)h->epoch);
    counters_begin(&p->counters, mesh_counters(p->mesh, h->slot));
    err = open_conf(p, &why);
    if (err < 0)
        goto fail;
    open_log(p);
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

/* --- start ------------------------------------------------------------------- */

static void vm_started(void *arg, int err, const char *text)
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
    char why[WHY_SIZE];
    struct vm_env env = {
        .role = p->h->role == ROLE_TASK ? VM_TASK : VM_WORKER,
        .slot = p->h->slot,
        .epoch = p->h->epoch,
        .generation = p->h->generation,
        .index = p->h->index,
        .boot = p->h->boot,
        .node = p->h->node,
        .why = p->h->respawn ? "respawn" : "start",
        .loop = p->loop,
        .mesh = p->mesh,
        .bundle = p->bundle,
        .conf = p->conf,
        .net = p->net,
        .timers = tables_timers(p->mesh),
        .uids = p->uids,
        .embedded_redis = p->h->redis,
    };

    if (vm_open(&p->vm, &env, why, sizeof(why)) < 0) {
        process_refuse(p, why);
        return;
    }
    vm_mesh_hooks(p->vm, &hooks);
    process_join(p, &hooks);
    vm_start(p->vm, vm_started, p);
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

static void vm_stopped(void *arg)
{
    struct process *p = arg;

    sd_check(p, PROCESS_MAGIC);
    loop_stop(p->loop);
}

void process_finish(struct process *p)
{
    if (p->vm != NULL)
        vm_stop(p->vm, vm_stopped, p);
    else
        loop_stop(p->loop);
}

int process_run(struct process *p)
{
    if (p->status == CHILD_DONE)
        loop_run(p->loop);
    close_all(p);
    return p->status;
}
