/* master.c - the life of a node, or of a dispatch.
 *
 * Peers: all processes, by leashes (crew.c); `sdlua` verbs, by
 * the control socket (dispatch below); signals.
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
#include "proc/master.h"
#include "proc/redis_server.h"
#include "proc/reload.h"
#include "proc/signals.h"
#include "proc/stall.h"
#include "proc/status.h"
#include "proc/tables.h"
#include "proc/title.h"

enum {
    MASTER_MAGIC = 0x6d617374
};

static const uint64_t stack_least = 64 << 20;

enum master_state {
    MASTER_STARTING,
    MASTER_SERVING,
    MASTER_DRAINING,
    MASTER_STOPPING
};

struct master {
    unsigned magic;
    enum master_state state;
    bool served;
    int exit;
    struct node node;
    struct loop *loop;
    struct signals *signals;
    struct mesh *mesh;
    struct redis_server *redis;
    struct crew *crew;
    struct reload *reload; /* NULL until it serves */
    struct drain *drain;   /* while it drains */
    struct ctl *ctl;
    struct stall *stall;
};

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

static void on_line(void *arg, const char *line, struct buf *reply);

static const char *const state_names[] = {
    [MASTER_STARTING] = "starting",
    [MASTER_SERVING] = "serving",
    [MASTER_DRAINING] = "draining",
    [MASTER_STOPPING] = "stopping",
};

static struct status status_of(const struct master *m)
{
    return (struct status){
        .node = m->node.name,
        .version = m->node.options.version,
        .generation = m->node.generation,
        .workers = m->node.workers,
        .state = state_names[m->state],
        .started = m->node.started,
        .conf = m->node.conf,
        .ports = &m->node.ports,
        .mesh = m->mesh,
        .admin = m->node.admin >= 0 ? m->node.admin_address : "",
        .redis = redis_server_info(m->redis),
    };
}

static void stop(struct master *m, uint64_t ms, int status);

/* Every process is ready: say so, and let a daemon's caller go. */
static void on_ready(void *arg)
{
    struct master *m = arg;
    struct status status = status_of(m);
    struct buf table = {0};
    struct slice s;
    int err = ctl_open(&m->ctl, m->loop, &m->node.user, on_line, m);

    sd_check(m, MASTER_MAGIC);
    if (err < 0) {
        fprintf(stderr, "sdlua: %s: %s\n", instance_control(), err_str(err));
        stop(m, 0, EXIT_FAILURE);
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
    stop(m, 0, EXIT_FAILURE);
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
    stop(m, 0, EXIT_FAILURE);
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

static void stop(struct master *m, uint64_t ms, int status)
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

static void on_drained(void *arg)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    stop(m, m->node.conf->server.stop_timeout, EXIT_SUCCESS);
}

/* "drain 50": begin, or go on at another pace.  "drain": at one that fits. */
static void drain(struct master *m, const char *rate, struct buf *reply)
{
    struct drain_config config = {
        .loop = m->loop,
        .crew = m->crew,
        .slots = mesh_slots(m->mesh),
        .workers = m->node.workers,
        .limit = m->node.conf->server.stop_timeout,
        .on_empty = on_drained,
        .arg = m,
    };
    unsigned long n = strtoul(rate, NULL, 10);

    if (m->state == MASTER_STOPPING) {
        buf_append_str(reply, "{\"error\":\"stopping\"}");
        return;
    }
    if (m->state == MASTER_SERVING) {
        reload_cancel(m->reload, "sdlua drains");
        m->drain = drain_new(&config);
    }
    m->state = MASTER_DRAINING;
    drain_set_rate(m->drain, n < DRAIN_RATE_MAX ? (unsigned)n : DRAIN_RATE_MAX);
    drain_json(m->drain, reply);
}

/* "attach 1": from now on the client speaks with that worker. */
static void attach(struct master *m, const char *worker, struct buf *reply)
{
    unsigned long i = strtoul(worker, NULL, 10);

    if (i >= m->node.workers)
        buf_printf(reply, "{\"error\":\"no worker %lu\"}", i);
    else if (crew_attach(m->crew, (unsigned)i, ctl_client(m->ctl)) < 0)
        buf_printf(reply, "{\"error\":\"worker %lu does not serve\"}", i);
}

/* From now on the client speaks with the agent. */
static void ask_agent(struct master *m, enum agent_ask what, struct buf *reply)
{
    if (m->node.cluster.gossip < 0)
        buf_append_str(reply, "{\"error\":\"of no cluster: set "
                              "cluster.enable\"}");
    else if (crew_ask_agent(m->crew, ctl_client(m->ctl), what) < 0)
        buf_append_str(reply, "{\"error\":\"the agent does not serve\"}");
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

static void reopen_log(struct master *m)
{
    int err;

    if (m->node.log[0] == '\0')
        return;
    err = node_reopen_log(&m->node);
    if (err < 0)
        log_error("%s: %s", m->node.log, err_str(err));
    if (m->node.options.daemon) {
        dup2(m->node.log_fd, STDOUT_FILENO);
        dup2(m->node.log_fd, STDERR_FILENO);
    }
    if (m->crew != NULL)
        crew_reopen_logs(m->crew);
}

/* `call` is taken. */
static void reload(struct master *m, struct ctl_call *call)
{
    struct buf reply = {0};

    if (m->state == MASTER_SERVING) {
        reload_begin(m->reload, call);
        return;
    }
    log_warn("sdlua does not serve: nothing is reloaded");
    buf_append_str(&reply, "{\"ok\":false,\"errors\":[\"sdlua does not "
                           "serve\"]}");
    ctl_answer(&call, &reply);
    buf_fini(&reply);
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
        stop(m, m->node.conf->server.stop_timeout, EXIT_SUCCESS);
        break;
    case SIGQUIT:
        stop(m, 0, EXIT_SUCCESS);
        break;
    case SIGUSR2:
        reopen_log(m);
        break;
    case SIGHUP:
    case SIGUSR1:
        reload(m, NULL);
        break;
    default:
        break;
    }
}

static void on_line(void *arg, const char *line, struct buf *reply)
{
    struct master *m = arg;
    struct status status = status_of(m);

    sd_check(m, MASTER_MAGIC);
    if (strcmp(line, "status") == 0) {
        status_json(&status, reply);
    } else if (strcmp(line, "stop") == 0) {
        buf_append_str(reply, "{\"ok\":true}");
        if (m->state != MASTER_STOPPING)
            stop(m, m->node.conf->server.stop_timeout, EXIT_SUCCESS);
    } else if (strcmp(line, "stop-now") == 0) {
        buf_append_str(reply, "{\"ok\":true}");
        stop(m, 0, EXIT_SUCCESS);
    } else if (strcmp(line, "reload") == 0) {
        reload(m, ctl_defer(m->ctl));
    } else if (strncmp(line, "drain", 5) == 0) {
        drain(m, line + 5, reply);
    } else if (strcmp(line, "left") == 0 && m->drain != NULL) {
        drain_json(m->drain, reply);
    } else if (strncmp(line, "attach ", 7) == 0) {
        attach(m, line + 7, reply);
    } else if (strcmp(line, "cluster") == 0) {
        ask_agent(m, AGENT_CLUSTER, reply);
    } else if (strcmp(line, "reload-cluster") == 0) {
        ask_agent(m, AGENT_ROLL, reply);
    } else if (strcmp(line, "log-reopen") == 0) {
        buf_append_str(reply, "{\"ok\":true}");
        reopen_log(m);
    } else {
        buf_append_str(reply, "{\"error\":\"no such command\"}");
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
