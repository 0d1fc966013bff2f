/* master.c - the life of a node, or of a dispatch.
 *
 * Peers: all processes, by leashes (crew.c); `sdlua` verbs, by the control
 * socket (master_ask.c); signals.
 *
 * A failed start and an orderly stop end the same way: workers, tasks, redis,
 * then the closers, which accept what was never opened, in reverse order.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "proc/agent.h"
#include "proc/crew.h"
#include "proc/ctl.h"
#include "proc/daemon.h"
#include "proc/drain.h"
#include "proc/instance.h"
#include "proc/master_inner.h"
#include "proc/redis_server.h"
#include "proc/reload.h"
#include "proc/signals.h"
#include "proc/stall.h"
#include "proc/status.h"
#include "proc/tables.h"
#include "proc/title.h"

static const uint64_t stack_least = 64 << 20;

/* --- steps of a start: 0, or negative after a complaint ------------------- */

/* A line of stderr for each line of `text`. */
static int complain(struct slice text)
{
    while (text.len > 0) {
        const char *end = memchr(text.p, '\n', text.len);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.len;

        fprintf(stderr, "sdlua: %.*s\n", (int)n, text.p);
        text = slice_skip(text, n + (end != NULL));
    }
    return SD_EFAILED;
}

static int open_node(struct master *m, const struct node_options *options)
{
    if (node_open(&m->node, options) < 0)
        return complain(buf_slice(&m->node.why));
    return 0;
}

static int take_node(struct master *m)
{
    if (node_take(&m->node) < 0)
        return complain(buf_slice(&m->node.why));
    return 0;
}

static void on_signal(void *arg, int signum);

/* From here on a signal waits for the loop, so that nothing is left behind. */
static int open_loop(struct master *m)
{
    int err = loop_open(&m->loop);

    if (err == 0)
        err = signals_open(&m->signals, m->loop, on_signal, m);
    return err < 0 ? complain(slice_str(err_str(err))) : 0;
}

static int open_mesh(struct master *m)
{
    struct mesh_shape shape = {
        .workers = m->node.workers,
        .tasks = m->node.tasks,
        .relays = m->node.relays,
        .extra = tables_size(m->node.conf),
    };
    int err = mesh_create(&m->mesh, &shape);

    if (err < 0)
        return complain(slice_str(err_str(err)));
    tables_init(m->mesh, m->node.conf);
    tables_adopt_timers(m->mesh, m->node.conf, m->node.generation);
    slots_set(mesh_slots(m->mesh), mesh_master(m->mesh), SLOT_GENERATION,
              m->node.generation);
    return 0;
}

static int child_output(const struct master *m)
{
    return m->node.options.daemon ? m->node.log_fd : -1;
}

static bool wants_redis(const struct conf *conf)
{
    for (unsigned i = 0; i < conf->nredis; i++)
        if (strcmp(conf->redis[i].url, "embedded") == 0)
            return true;
    return false;
}

static void on_heritage(void *arg, struct heritage *h)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    node_bequeath(&m->node, h);
    if (m->redis != NULL)
        snprintf(h->redis, sizeof(h->redis), "%s", REDIS_SERVER_SOCKET);
}

/* Every process is ready: say so, and let a daemon's caller go. */
static void on_ready(void *arg)
{
    struct master *m = arg;
    struct status status = master_status(m);
    struct buf table = {0};
    struct slice s;
    int err = ctl_open(&m->ctl, m->loop, &m->node.user, master_on_line, m);

    sd_check(m, MASTER_MAGIC);
    if (err < 0) {
        fprintf(stderr, "sdlua: %s: %s\n", instance_control(), err_str(err));
        master_stop(m, 0, EXIT_FAILURE);
        return;
    }
    m->reload = reload_new(m->loop, &m->node, m->mesh, m->crew);
    m->stall = stall_open(m->loop, m->mesh, m->crew, &m->node);
    m->state = MASTER_SERVING;
    m->served = true;
    status_table(&status, &table);
    s = buf_slice(&table);
    fwrite(s.p, 1, s.len, stdout);
    fflush(stdout);
    buf_fini(&table);
    log_info("serving, %u ms after the start",
             (unsigned)(clock_ms() - m->node.started));
    if (m->node.options.daemon)
        daemon_ready(m->node.log_fd);
}

static void on_refused(void *arg, const char *text)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    if (m->state == MASTER_STARTING) {
        complain(slice_make(text, strcspn(text, "\n")));
        if (strchr(text, '\n') != NULL)
            log_info("%s", text); /* with the stack */
    }
    master_stop(m, 0, EXIT_FAILURE);
}

static void on_built(void *arg, const char *why)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    reload_on_built(m->reload, why);
}

static void on_broken(void *arg)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    log_error("every %s is broken: giving up",
              m->node.workers > 0 ? "worker" : "relay");
    master_stop(m, 0, EXIT_FAILURE);
}

static void on_empty(void *arg)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    if (!redis_server_stop(m->redis))
        loop_stop(m->loop);
}

static void start_crew(struct master *m)
{
    uint64_t stack = m->node.conf->server.vm_memory / 4;
    struct crew_config config = {
        .loop = m->loop,
        .mesh = m->mesh,
        .user = &m->node.user,
        .workers = m->node.workers,
        .tasks = m->node.tasks,
        .relays = m->node.relays,
        .stack = stack > stack_least ? stack : stack_least,
        .output = child_output(m),
        .hooks =
            {
                .on_heritage = on_heritage,
                .on_ready = on_ready,
                .on_refused = on_refused,
                .on_built = on_built,
                .on_broken = on_broken,
                .on_empty = on_empty,
                .arg = m,
            },
    };

    m->crew = crew_new(&config);
    crew_start(m->crew);
}

static void on_redis_ready(void *arg)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    start_crew(m);
}

/* First what the others need; then the others. */
static int start(struct master *m)
{
    struct redis_server_config config = {
        .loop = m->loop,
        .user = &m->node.user,
        .output = child_output(m),
        .on_ready = on_redis_ready,
        .on_refused = on_refused,
        .arg = m,
    };
    char why[256];

    if (!wants_redis(m->node.conf)) {
        start_crew(m);
        return 0;
    }
    if (redis_server_open(&m->redis, &config, why, sizeof(why)) < 0)
        return complain(slice_str(why));
    return 0;
}

/* --- while it lives ------------------------------------------------------- */

void master_stop(struct master *m, uint64_t ms, int status)
{
    if (m->state == MASTER_STARTING && status == EXIT_SUCCESS)
        status = EXIT_FAILURE;
    if (m->state != MASTER_STOPPING) {
        if (m->state != MASTER_STARTING)
            log_info(ms > 0 ? "stopping" : "stopping at once");
        m->exit = status;
    }
    if (m->state != MASTER_SERVING && m->state != MASTER_DRAINING)
        ms = 0;
    m->state = MASTER_STOPPING;
    if (m->reload != NULL)
        reload_cancel(m->reload, "sdlua stops");
    drain_free(&m->drain);
    if (m->crew != NULL)
        crew_stop(m->crew, ms);
    else
        on_empty(m);
}

static void reap(struct master *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (redis_server_on_exit(m->redis, pid, status)) {
            if (redis_server_is_stopping(m->redis))
                loop_stop(m->loop);
        } else if (reload_on_exit(m->reload, pid, status)) {
            continue;
        } else if (m->crew == NULL || !crew_on_exit(m->crew, pid, status)) {
            log_debug("pid %d, no child of ours, ended", (int)pid);
        }
    }
}

static void on_signal(void *arg, int signum)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    switch (signum) {
    case SIGCHLD:
        reap(m);
        break;
    case SIGTERM:
    case SIGINT:
        master_stop(m, m->node.conf->server.stop_timeout, EXIT_SUCCESS);
        break;
    case SIGQUIT:
        master_stop(m, 0, EXIT_SUCCESS);
        break;
    case SIGUSR2:
        master_reopen_log(m);
        break;
    case SIGHUP:
    case SIGUSR1:
        master_reload(m, NULL);
        break;
    default:
        break;
    }
}

/* --- the whole ------------------------------------------------------------ */

static void close_all(struct master *m)
{
    reload_free(&m->reload);
    ctl_close(&m->ctl);
    stall_close(&m->stall);
    drain_free(&m->drain);
    crew_free(&m->crew);
    redis_server_close(&m->redis);
    mesh_close(&m->mesh);
    signals_close(&m->signals);
    if (m->loop != NULL)
        loop_close(&m->loop);
    if (m->served)
        log_info("stopped");
    node_close(&m->node, m->exit != EXIT_SUCCESS);
    m->magic = 0;
}

int master_run(const struct node_options *options)
{
    struct master m = {.magic = MASTER_MAGIC, .exit = EXIT_SUCCESS};

    signals_hold();
    title_set("sdlua: master");
    signal(SIGPIPE, SIG_IGN);
    if (open_node(&m, options) < 0 || open_loop(&m) < 0 || take_node(&m) < 0 ||
        open_mesh(&m) < 0 || start(&m) < 0)
        m.exit = EXIT_FAILURE;
    else
        loop_run(m.loop);
    close_all(&m);
    return m.exit;
}
