/* node.c - a table of steps, each of which may say why it cannot.
 *
 * Everything here is had before the first loop turns, so steps simply block.
 * The closer accepts a node that got only half way.  The pid file goes last,
 * because its lock is what keeps a second master out. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "proc/config.h"
#include "proc/logfile.h"
#include "proc/node.h"
#include "proc/pidfile.h"

__attribute__((format(printf, 2, 3))) static int because(struct node *n,
                                                         const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    buf_append_str(&n->why, text);
    return SD_EFAILED;
}

/* Before anything costs time.  The lock itself is taken later, by
 * take_pidfile(), when run/ has its owner. */
static int look_around(struct node *n)
{
    pid_t pid = pidfile_owner(NODE_PIDFILE);

    return pid == 0 ? 0 : because(n, "already running (pid %d)", (int)pid);
}

static int find_user(struct node *n, struct user *user, const char *name)
{
    char why[256];
    int err = user_find(user, name, why, sizeof(why));

    return err < 0 ? because(n, "%s", why) : 0;
}

static int read_config(struct node *n)
{
    struct slice entries;
    const char *why = "no entry \"conf\"";
    int err = find_user(n, &n->owner, NULL);

    if (err < 0)
        return err;
    n->bundle_fd = config_load(&n->owner, &n->why);
    if (n->bundle_fd < 0)
        return n->bundle_fd;
    err = bundle_open(&n->bundle, n->bundle_fd);
    if (err < 0)
        return because(n, "the bundle: %s", err_str(err));
    if (!bundle_get(n->bundle, "conf", &entries) ||
        conf_open(&n->conf, entries, &why) < 0)
        return because(n, "the configuration: %s", why);
    return find_user(n, &n->user, n->conf->server.user);
}

static int make_run(struct node *n)
{
    int err;

    n->made_run = mkdir("run", 0755) == 0;
    if (!n->made_run && errno != EEXIST)
        return because(n, "run: %s", strerror(errno));
    err = user_own(&n->user, "run");
    if (err < 0)
        return because(n, "run: %s", err_str(err));
    return 0;
}

static int take_pidfile(struct node *n)
{
    n->pidfile = pidfile_open(NODE_PIDFILE, &n->stale);
    if (n->pidfile >= 0)
        return 0;
    if (n->pidfile == SD_EBUSY)
        return because(n, "already running (pid %d)",
                       (int)pidfile_owner(NODE_PIDFILE));
    return because(n, NODE_PIDFILE ": %s", err_str(n->pidfile));
}

static int open_log(struct node *n)
{
    const struct conf_log *log = &n->conf->log;
    const char *path = log->file;
    int fd;

    if (path == NULL && n->options.daemon)
        path = "run/sdlua.log";
    if (path != NULL) {
        snprintf(n->log, sizeof(n->log), "%s", path);
        fd = logfile_open(n->log, &n->user);
        if (fd < 0)
            return because(n, "%s: %s", n->log, err_str(fd));
        n->log_fd = fd;
    }
    log_open(n->log_fd, (enum log_level)log->level, log->json, "master");
    log_generation(n->generation);
    if (n->user.uid == 0)
        log_warn("all processes run as root: set server.user");
    return 0;
}

static int name_node(struct node *n)
{
    const char *name = getenv("SD_NAME");

    if (name == NULL || *name == '\0')
        name = n->conf->server.name;
    if (name != NULL)
        snprintf(n->name, sizeof(n->name), "%s", name);
    else if (gethostname(n->name, sizeof(n->name) - 1) < 0)
        snprintf(n->name, sizeof(n->name), "localhost");
    return 0;
}

/* As many descriptors as the system gives; the configuration child judges
 * server.max_conns by it. */
static int raise_limits(struct node *n)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return because(n, "limit of open files: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return 0;
}

static int open_ports(struct node *n)
{
    char why[512];

    if (n->conf->nports > HERITAGE_PORTS)
        return because(n, "config/ports.lua: more than %d ports",
                       HERITAGE_PORTS);
    if (n->conf->server.workers > HERITAGE_WORKERS)
        return because(n, "server.workers: more than %d", HERITAGE_WORKERS);
    if (ports_open(&n->ports, n->conf, n->stale, why, sizeof(why)) < 0)
        return because(n, "%s", why);
    return 0;
}

static int (*const steps[])(struct node *n) = {
    look_around, raise_limits, read_config, name_node,
    make_run,    take_pidfile, open_log,    open_ports,
};

int node_open(struct node *n, const struct node_options *options)
{
    *n = (struct node){
        .options = *options,
        .generation = 1,
        .started = clock_ms(),
        .bundle_fd = -1,
        .log_fd = STDERR_FILENO,
        .pidfile = -1,
    };
    if (getrandom(&n->boot, sizeof(n->boot), 0) != (ssize_t)sizeof(n->boot))
        n->boot = (uint64_t)clock_wall_ms();
    log_open(n->log_fd, LOG_WARN, false, "master");
    log_generation(n->generation);
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int err = steps[i](n);

        if (err < 0)
            return err;
    }
    return 0;
}

void node_close(struct node *n, bool failed)
{
    ports_close(&n->ports);
    conf_close(&n->conf);
    bundle_close(&n->bundle);
    if (n->bundle_fd >= 0)
        close(n->bundle_fd);
    n->bundle_fd = -1;
    pidfile_close(n->pidfile, NODE_PIDFILE);
    n->pidfile = -1;
    if (failed && n->made_run)
        rmdir("run");
    buf_fini(&n->why);
}

void node_bequeath(const struct node *n, struct heritage *h)
{
    h->generation = n->generation;
    h->boot = n->boot;
    snprintf(h->node, sizeof(h->node), "%s", n->name);
    snprintf(h->log, sizeof(h->log), "%s", n->log);
    h->bundle = n->bundle_fd;
    h->log_fd = n->log_fd;
    ports_bequeath(&n->ports, h);
}
