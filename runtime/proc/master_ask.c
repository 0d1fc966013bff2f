/* master_ask.c - what the master is asked for: by `sdlua` verbs, a line each
 * over the control socket, and by signals that say the same. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "proc/agent.h"
#include "proc/master_inner.h"

/* --- what it is ----------------------------------------------------------- */

static const char *const state_names[] = {
    [MASTER_STARTING] = "starting",
    [MASTER_SERVING] = "serving",
    [MASTER_DRAINING] = "draining",
    [MASTER_STOPPING] = "stopping",
};

struct status master_status(const struct master *m)
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

/* --- stop, drain, reload -------------------------------------------------- */

static void on_drained(void *arg)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    master_stop(m, m->node.conf->server.stop_timeout, EXIT_SUCCESS);
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

void master_reopen_log(struct master *m)
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
void master_reload(struct master *m, struct ctl_call *call)
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

/* --- lines ---------------------------------------------------------------- */

static void ask_status(struct master *m, const char *rest, struct buf *reply)
{
    struct status status = master_status(m);

    (void)rest;
    status_json(&status, reply);
}

static void ask_stop(struct master *m, const char *rest, struct buf *reply)
{
    (void)rest;
    buf_append_str(reply, "{\"ok\":true}");
    if (m->state != MASTER_STOPPING)
        master_stop(m, m->node.conf->server.stop_timeout, EXIT_SUCCESS);
}

static void ask_stop_now(struct master *m, const char *rest, struct buf *reply)
{
    (void)rest;
    buf_append_str(reply, "{\"ok\":true}");
    master_stop(m, 0, EXIT_SUCCESS);
}

/* Answered when it has ended. */
static void ask_reload(struct master *m, const char *rest, struct buf *reply)
{
    (void)rest;
    (void)reply;
    master_reload(m, ctl_defer(m->ctl));
}

static void ask_left(struct master *m, const char *rest, struct buf *reply)
{
    (void)rest;
    if (m->drain != NULL)
        drain_json(m->drain, reply);
    else
        buf_append_str(reply, "{\"error\":\"it does not drain\"}");
}

static void ask_cluster(struct master *m, const char *rest, struct buf *reply)
{
    (void)rest;
    ask_agent(m, AGENT_CLUSTER, reply);
}

static void ask_roll(struct master *m, const char *rest, struct buf *reply)
{
    (void)rest;
    ask_agent(m, AGENT_ROLL, reply);
}

static void ask_reopen(struct master *m, const char *rest, struct buf *reply)
{
    (void)rest;
    buf_append_str(reply, "{\"ok\":true}");
    master_reopen_log(m);
}

static const struct {
    const char *word;
    void (*fn)(struct master *m, const char *rest, struct buf *reply);
} asks[] = {
    {"status", ask_status},
    {"stop", ask_stop},
    {"stop-now", ask_stop_now},
    {"reload", ask_reload},
    {"drain", drain},
    {"left", ask_left},
    {"attach", attach},
    {"cluster", ask_cluster},
    {"reload-cluster", ask_roll},
    {"log-reopen", ask_reopen},
};

/* A word, and what may be behind it. */
void master_on_line(void *arg, const char *line, struct buf *reply)
{
    struct master *m = arg;
    size_t i, n = strcspn(line, " ");

    sd_check(m, MASTER_MAGIC);
    for (i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        if (strncmp(line, asks[i].word, n) == 0 && asks[i].word[n] == '\0') {
            asks[i].fn(m, line + n, reply);
            return;
        }
    }
    buf_append_str(reply, "{\"error\":\"no such command\"}");
}
