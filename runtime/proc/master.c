/* master.c - the life of a node.
 *
 * Peers: worker and task processes, by leashes (crew.c); `sdlua` verbs, by
 * the control socket (dispatch below); signals.
 *
 * A start is a table of steps, each of which may say why it cannot.  The end
 * is the same for a failed start and for an orderly stop: workers, tasks,
 * redis, then the closers, which accept what was never opened, in reverse
 * order.  The pid file goes last, because its lock is what keeps a second
 * master out. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bundle.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "ipc/shtimer.h"
#include "loop/sig.h"
#include "proc/config.h"
#include "proc/crew.h"
#include "proc/ctl.h"
#include "proc/daemon.h"
#include "proc/install.h"
#include "proc/logfile.h"
#include "proc/master.h"
#include "proc/pidfile.h"
#include "proc/ports.h"
#include "proc/redis_server.h"
#include "proc/status.h"
#include "proc/title.h"

enum {
    MASTER_MAGIC = 0x6d617374,
    WHY_SIZE = 4600,
};

static const uint64_t stack_least = 64 << 20;

enum master_state {
    MASTER_STARTING,
    MASTER_SERVING,
    MASTER_STOPPING
};

static const int master_signals[] = {SIGTERM, SIGINT,  SIGQUIT, SIGHUP,
                                     SIGUSR1, SIGUSR2, SIGCHLD};

enum {
    SIGNALS = sizeof(master_signals) / sizeof(master_signals[0])
};

struct master {
    unsigned magic;
    struct master_options options;
    enum master_state state;
    int exit;
    uint64_t started, boot;
    unsigned generation;
    char node[256];
    char why[WHY_SIZE]; /* of the step that failed; may be many lines */

    struct user owner, user;
    int bundle_fd;
    struct bundle *bundle;
    struct conf *conf;
    int log_fd;
    char log[256];
    bool made_run, stale;
    int pidfile;
    struct ports ports;
    struct loop *loop;
    struct sig *sigs[SIGNALS];
    struct mesh *mesh;
    struct redis_server *redis;
    struct crew *crew;
    struct ctl *ctl;
};

__attribute__((format(printf, 2, 3))) static int because(struct master *m,
                                                         const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(m->why, sizeof(m->why), fmt, args);
    va_end(args);
    return SD_EFAILED;
}

/* --- steps of a start: 0, or negative with m->why -------------------------- */

/* Before anything costs time.  The lock itself is taken later, by
 * take_pidfile(), when run/ has its owner. */
static int look_around(struct master *m)
{
    pid_t pid = pidfile_owner(MASTER_PIDFILE);

    return pid == 0 ? 0 : because(m, "already running (pid %d)", (int)pid);
}

static int read_config(struct master *m)
{
    struct buf errors = {0};
    struct slice entries;
    const char *why = "no entry \"conf\"";
    int err = user_find(&m->owner, NULL, m->why, sizeof(m->why));

    if (err < 0)
        return err;
    m->bundle_fd = config_load(&m->owner, &errors);
    if (m->bundle_fd < 0) {
        struct slice s = buf_slice(&errors);

        because(m, "%.*s", (int)s.len, s.p);
    }
    buf_fini(&errors);
    if (m->bundle_fd < 0)
        return m->bundle_fd;
    err = bundle_open(&m->bundle, m->bundle_fd);
    if (err < 0)
        return because(m, "the bundle: %s", err_str(err));
    if (!bundle_get(m->bundle, "conf", &entries) ||
        conf_open(&m->conf, entries, &why) < 0)
        return because(m, "the configuration: %s", why);
    return user_find(&m->user, m->conf->server.user, m->why, sizeof(m->why));
}

static int make_run(struct master *m)
{
    int err;

    m->made_run = mkdir("run", 0755) == 0;
    if (!m->made_run && errno != EEXIST)
        return because(m, "run: %s", strerror(errno));
    err = user_own(&m->user, "run");
    if (err < 0)
        return because(m, "run: %s", err_str(err));
    return 0;
}

static int take_pidfile(struct master *m)
{
    m->pidfile = pidfile_open(MASTER_PIDFILE, &m->stale);
    if (m->pidfile >= 0)
        return 0;
    if (m->pidfile == SD_EBUSY)
        return because(m, "already running (pid %d)",
                       (int)pidfile_owner(MASTER_PIDFILE));
    return because(m, MASTER_PIDFILE ": %s", err_str(m->pidfile));
}

static int open_log(struct master *m)
{
    const struct conf_log *log = &m->conf->log;
    const char *path = log->file;

    if (path == NULL && m->options.daemon)
        path = "run/sdlua.log";
    if (path != NULL) {
        snprintf(m->log, sizeof(m->log), "%s", path);
        m->log_fd = logfile_open(m->log, &m->user);
        if (m->log_fd < 0)
            return because(m, "%s: %s", m->log, err_str(m->log_fd));
    }
    log_open(m->log_fd, (enum log_level)log->level, log->json, "master");
    log_generation(m->generation);
    if (m->user.uid == 0)
        log_warn("all processes run as root: set server.user");
    return 0;
}

static int name_node(struct master *m)
{
    const char *name = getenv("SD_NODE_NAME");

    if (name == NULL || *name == '\0')
        name = m->conf->server.name;
    if (name != NULL)
        snprintf(m->node, sizeof(m->node), "%s", name);
    else if (gethostname(m->node, sizeof(m->node) - 1) < 0)
        snprintf(m->node, sizeof(m->node), "localhost");
    return 0;
}

/* As many descriptors as the system gives; the configuration child judges
 * server.max_conns by it. */
static int raise_limits(struct master *m)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return because(m, "limit of open files: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return 0;
}

static int open_ports(struct master *m)
{
    if (m->conf->nports > HERITAGE_PORTS)
        return because(m, "config/ports.lua: more than %d ports",
                       HERITAGE_PORTS);
    if (m->conf->server.workers > HERITAGE_WORKERS)
        return because(m, "server.workers: more than %d", HERITAGE_WORKERS);
    return ports_open(&m->ports, m->conf, m->stale, m->why, sizeof(m->why));
}

static void on_signal(void *arg, int signum);

static int open_loop(struct master *m)
{
    struct mesh_shape shape = {
        .workers = m->conf->server.workers,
        .tasks = m->conf->server.tasks,
        .extra = shtimer_size(),
    };
    int err = loop_open(&m->loop);

    for (unsigned i = 0; i < SIGNALS && err == 0; i++)
        err = sig_open(&m->sigs[i], m->loop, master_signals[i], on_signal, m);
    if (err == 0)
        err = mesh_create(&m->mesh, &shape);
    return err < 0 ? because(m, "shared memory: %s", err_str(err)) : 0;
}

static int child_output(const struct master *m)
{
    return m->options.daemon ? m->log_fd : -1;
}

static bool wants_redis(const struct conf *conf)
{
    for (unsigned i = 0; i < conf->nredis; i++)
        if (strcmp(conf->redis[i].url, "embedded") == 0)
            return true;
    return false;
}

static int start_redis(struct master *m)
{
    if (!wants_redis(m->conf))
        return 0;
    return redis_server_open(&m->redis, m->loop, &m->user, child_output(m),
                             m->why, sizeof(m->why));
}

static void on_heritage(void *arg, struct heritage *h)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    h->generation = m->generation;
    h->boot = m->boot;
    snprintf(h->node, sizeof(h->node), "%s", m->node);
    snprintf(h->log, sizeof(h->log), "%s", m->log);
    if (m->redis != NULL)
        snprintf(h->redis, sizeof(h->redis), "%s", REDIS_SERVER_SOCKET);
    h->bundle = m->bundle_fd;
    h->log_fd = m->log_fd;
    ports_bequeath(&m->ports, h);
}

static void on_line(void *arg, const char *line, struct buf *reply);

static struct status status_of(const struct master *m)
{
    return (struct status){
        .node = m->node,
        .version = m->options.version,
        .generation = m->generation,
        .started = m->started,
        .conf = m->conf,
        .ports = &m->ports,
        .slots = mesh_slots(m->mesh),
        .master = mesh_master(m->mesh),
        .redis = redis_server_pid(m->redis),
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
    int err = ctl_open(&m->ctl, m->loop, on_line, m);

    sd_check(m, MASTER_MAGIC);
    if (err < 0) {
        fprintf(stderr, "sdlua: " CTL_PATH ": %s\n", err_str(err));
        stop(m, 0, EXIT_FAILURE);
        return;
    }
    m->state = MASTER_SERVING;
    status_table(&status, &table);
    s = buf_slice(&table);
    fwrite(s.p, 1, s.len, stdout);
    fflush(stdout);
    buf_fini(&table);
    log_info("serving, %u ms after the start",
             (unsigned)(clock_ms() - m->started));
    if (m->options.daemon)
        daemon_ready(m->log_fd);
}

static void on_refused(void *arg, const char *text)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    if (m->state == MASTER_STARTING)
        fprintf(stderr, "sdlua: %s\n", text);
    stop(m, 0, EXIT_FAILURE);
}

static void on_broken(void *arg)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    log_error("every worker is broken: giving up");
    stop(m, 0, EXIT_FAILURE);
}

static void on_empty(void *arg)
{
    struct master *m = arg;

    sd_check(m, MASTER_MAGIC);
    if (!redis_server_stop(m->redis))
        loop_stop(m->loop);
}

static int start_crew(struct master *m)
{
    uint64_t stack = m->conf->server.vm_memory / 4;
    struct crew_config config = {
        .loop = m->loop,
        .mesh = m->mesh,
        .user = &m->user,
        .workers = m->conf->server.workers,
        .tasks = m->conf->server.tasks,
        .stack = stack > stack_least ? stack : stack_least,
        .output = child_output(m),
        .hooks =
            {
                .on_heritage = on_heritage,
                .on_ready = on_ready,
                .on_refused = on_refused,
                .on_broken = on_broken,
                .on_empty = on_empty,
                .arg = m,
            },
    };

    m->crew = crew_new(&config);
    crew_start(m->crew);
    return 0;
}

static int (*const steps[])(struct master *m) = {
    look_around, raise_limits, read_config, name_node,
    make_run,    take_pidfile, open_log,    open_ports,
    open_loop,   start_redis,  start_crew,
};

/* --- while it lives ---------------------------------------------------------- */

static void stop(struct master *m, uint64_t ms, int status)
{
    if (m->state == MASTER_STARTING && status == EXIT_SUCCESS)
        status = EXIT_FAILURE;
    if (m->state != MASTER_STOPPING) {
        log_info(ms > 0 ? "stopping" : "stopping at once");
        m->exit = status;
    }
    if (m->state != MASTER_SERVING)
        ms = 0;
    m->state = MASTER_STOPPING;
    crew_stop(m->crew, ms);
}

static void reap(struct master *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (redis_server_on_exit(m->redis, pid, status)) {
            if (redis_server_is_stopping(m->redis))
                loop_stop(m->loop);
        } else if (!crew_on_exit(m->crew, pid, status)) {
            log_debug("pid %d, no child of ours, ended", (int)pid);
        }
    }
}

static void reopen_log(struct master *m)
{
    int err;

    if (m->log[0] == '\0')
        return;
    err = logfile_reopen(m->log_fd, m->log);
    if (err < 0)
        log_error("%s: %s", m->log, err_str(err));
    user_own(&m->user, m->log);
    if (m->options.daemon) {
        dup2(m->log_fd, STDOUT_FILENO);
        dup2(m->log_fd, STDERR_FILENO);
    }
    crew_reopen_logs(m->crew);
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
        stop(m, m->conf->server.stop_timeout, EXIT_SUCCESS);
        break;
    case SIGQUIT:
        stop(m, 0, EXIT_SUCCESS);
        break;
    case SIGUSR2:
        reopen_log(m);
        break;
    default:
        log_warn("reload is not available yet");
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
        stop(m, m->conf->server.stop_timeout, EXIT_SUCCESS);
    } else if (strcmp(line, "stop-now") == 0) {
        buf_append_str(reply, "{\"ok\":true}");
        stop(m, 0, EXIT_SUCCESS);
    } else if (strcmp(line, "log-reopen") == 0) {
        buf_append_str(reply, "{\"ok\":true}");
        reopen_log(m);
    } else {
        buf_append_str(reply, "{\"error\":\"no such command\"}");
    }
}

/* --- the whole --------------------------------------------------------------- */

static void print_lines(const char *text)
{
    size_t n;

    for (; *text != '\0'; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        fprintf(stderr, "sdlua: %.*s\n", (int)n, text);
    }
}

static int start(struct master *m)
{
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i](m) < 0) {
            print_lines(m->why);
            return SD_EFAILED;
        }
    }
    return 0;
}

static void close_all(struct master *m)
{
    bool failed = m->exit != EXIT_SUCCESS;

    ctl_close(&m->ctl);
    crew_free(&m->crew);
    redis_server_close(&m->redis);
    mesh_close(&m->mesh);
    for (unsigned i = 0; i < SIGNALS; i++)
        sig_close(&m->sigs[i]);
    loop_close(&m->loop);
    ports_close(&m->ports);
    conf_close(&m->conf);
    bundle_close(&m->bundle);
    if (m->bundle_fd >= 0)
        close(m->bundle_fd);
    if (m->state == MASTER_STOPPING)
        log_info("stopped");
    pidfile_close(m->pidfile, MASTER_PIDFILE);
    if (failed && m->made_run)
        rmdir("run");
}

int master_run(const struct master_options *options)
{
    struct master m = {
        .magic = MASTER_MAGIC,
        .options = *options,
        .exit = EXIT_SUCCESS,
        .generation = 1,
        .started = clock_ms(),
        .bundle_fd = -1,
        .log_fd = STDERR_FILENO,
        .pidfile = -1,
    };

    title_set("sdlua: master");
    signal(SIGPIPE, SIG_IGN);
    log_open(STDERR_FILENO, LOG_WARN, false, "master");
    log_generation(m.generation);
    if (getrandom(&m.boot, sizeof(m.boot), 0) != (ssize_t)sizeof(m.boot))
        m.boot = (uint64_t)clock_wall_ms();
    if (start(&m) == 0)
        loop_run(m.loop);
    else
        m.exit = EXIT_FAILURE;
    close_all(&m);
    return m.exit;
}
