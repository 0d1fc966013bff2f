/* node.c - two tables of steps, each of which may say why it cannot.
 *
 * The first leaves no trace, so a signal may simply end the process in it.
 * Everything here is had before the first loop turns, so steps simply block.
 * The closer accepts a node that got only half way.  The pid file goes last,
 * because its lock is what keeps a second master out. */
#include <errno.h>
#include <fcntl.h>
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
#include "cluster/gossip_msg.h"
#include "proc/config.h"
#include "proc/instance.h"
#include "proc/logfile.h"
#include "proc/node.h"
#include "proc/pidfile.h"

enum {
    ADMIN_PATIENCE = 3000, /* ms: the last agent may be just ending */
    ADMIN_STEP = 20000,    /* us */
};

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
    pid_t pid = pidfile_owner(instance_pidfile());

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
    const char *why;
    int err = find_user(n, &n->owner, NULL);

    if (err < 0)
        return err;
    n->bundle_fd = config_load(&n->owner, &n->why);
    if (n->bundle_fd < 0)
        return n->bundle_fd;
    if (code_open(&n->code, n->bundle_fd, n->generation, &why) < 0)
        return because(n, "the configuration: %s", why);
    n->bundle = n->code->bundle;
    n->conf = n->code->conf;
    return find_user(n, &n->user, n->conf->server.user);
}

/* Ours to give away only when it is no link. */
static int give_run(const struct user *user)
{
    int fd = open("run", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int err;

    if (fd < 0)
        return errno == ENOTDIR ? 0 : -errno;
    err = fchown(fd, user->uid, user->gid) < 0 ? -errno : 0;
    close(fd);
    return err;
}

static int make_run(struct node *n)
{
    int err = 0;

    n->made_run = mkdir("run", 0755) == 0;
    if (!n->made_run && errno != EEXIST)
        err = -errno;
    else if (n->user.change)
        err = give_run(&n->user);
    return err < 0 ? because(n, "run: %s", err_str(err)) : 0;
}

static int take_pidfile(struct node *n)
{
    n->pidfile = pidfile_open(instance_pidfile(), &n->user, &n->stale);
    if (n->pidfile >= 0)
        return 0;
    if (n->pidfile == SD_EBUSY)
        return because(n, "already running (pid %d)",
                       (int)pidfile_owner(instance_pidfile()));
    return because(n, "%s: %s", instance_pidfile(), err_str(n->pidfile));
}

/* Root's own word counts for more than the word of a folder's owner. */
static bool is_trusted(const struct node *n)
{
    return n->owner.uid == 0;
}

static int open_log_file(struct node *n, const char *path)
{
    int fd;

    if (strlen(path) >= sizeof(n->log))
        return because(n, "log.file: longer than %zu bytes",
                       sizeof(n->log) - 1);
    snprintf(n->log, sizeof(n->log), "%s", path);
    fd = logfile_open(n->log, &n->user, is_trusted(n));
    if (fd < 0)
        return because(n, "%s: %s", n->log, err_str(fd));
    n->log_fd = fd;
    return 0;
}

static void set_log(const struct node *n)
{
    const struct conf_log *log = &n->conf->log;

    log_open(n->log_fd, (enum log_level)log->level, log->json, "master");
    log_generation(n->generation);
}

void node_take_code(struct node *n, struct code *code, int bundle_fd)
{
    code_unref(&n->code);
    close(n->bundle_fd);
    n->code = code;
    n->bundle_fd = bundle_fd;
    n->generation = code->generation;
    n->bundle = code->bundle;
    n->conf = code->conf;
    set_log(n);
}

static int open_log(struct node *n)
{
    const struct conf_log *log = &n->conf->log;
    const char *path = log->file;
    int err = 0;

    if (path == NULL && n->options.daemon)
        path = instance_log();
    if (path != NULL)
        err = open_log_file(n, path);
    if (err < 0)
        return err;
    set_log(n);
    if (n->user.uid == 0)
        log_warn("all processes run as root: set server.user");
    return 0;
}

int node_reopen_log(const struct node *n)
{
    return logfile_reopen(n->log_fd, n->log, &n->user, is_trusted(n));
}

static int name_node(struct node *n)
{
    const char *name = n->conf->server.name;

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

/* A dispatch alone has relays only. */
static int count_processes(struct node *n)
{
    unsigned parts = instance_parts();

    if ((parts & INSTANCE_NODE) != 0) {
        n->workers = n->conf->server.workers;
        n->tasks = n->conf->server.tasks;
    }
    if ((parts & INSTANCE_DISPATCH) != 0)
        n->relays = n->conf->dispatch.relays;
    return 0;
}

static int open_cluster(struct node *n)
{
    char why[512];

    if (!n->conf->cluster.enable && n->relays == 0)
        return 0;
    if (!n->conf->cluster.enable && (instance_parts() & INSTANCE_NODE) != 0)
        return because(n, "--dispatch: a node that takes part needs "
                          "cluster.enable (alone: sdlua dispatch start)");
    if (!gossip_name_is_sound(slice_str(n->name)))
        return because(n,
                       "the name of a member of a cluster has 1 to %d bytes, "
                       "no control characters: set server.name",
                       GOSSIP_NAME);
    if (n->conf->cluster.key.n == 0)
        log_info("no cluster.key: the cluster is of this machine only");
    if (cluster_sockets_open(&n->cluster, n->conf, n->relays, why,
                             sizeof(why)) < 0)
        return because(n, "%s", why);
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

/* Did somebody write the address down? */
static bool is_admin_set(const struct node *n)
{
    struct slice rest = {0};

    bundle_get(n->bundle, "origin", &rest);
    while (rest.len > 0) {
        const char *path = rest.p;
        const char *value = path + strlen(path) + 1;
        const char *source = value + strlen(value) + 1;
        const char *reload = source + strlen(source) + 1;

        if (strcmp(path, "admin.listen") == 0)
            return strcmp(source, "default") != 0;
        rest = slice_skip(rest, (size_t)(reload + strlen(reload) + 1 - path));
    }
    return false;
}

/* The default address is every node's: who comes late goes without. */
static int open_admin(struct node *n)
{
    const char *listen = n->conf->admin.listen;
    uint64_t limit = clock_ms() + (n->stale ? ADMIN_PATIENCE : 0);
    char why[512];

    if (strcmp(listen, "off") == 0)
        return 0;
    do {
        n->admin = admin_socket_open(n->admin_address, listen, &n->user, why,
                                     sizeof(why));
    } while (n->admin == -EADDRINUSE && clock_ms() < limit &&
             usleep(ADMIN_STEP) == 0);
    if (n->admin >= 0)
        return 0;
    n->admin = -1;
    if (is_admin_set(n))
        return because(n, "admin.listen: %s", why);
    log_warn("no admin port: %s", why);
    return 0;
}

typedef int step_fn(struct node *n);

static step_fn *const opening[] = {
    look_around, raise_limits, read_config, count_processes, name_node, NULL,
};

static step_fn *const taking[] = {
    make_run,     take_pidfile, open_log, open_ports,
    open_cluster, open_admin,   NULL,
};

static int walk(struct node *n, step_fn *const *step)
{
    int err = 0;

    for (; *step != NULL && err == 0; step++)
        err = (*step)(n);
    return err;
}

int node_open(struct node *n, const struct node_options *options)
{
    *n = (struct node){
        .options = *options,
        .generation = 1,
        .started = clock_ms(),
        .bundle_fd = -1,
        .log_fd = STDERR_FILENO,
        .pidfile = -1,
        .cluster = {.gossip = -1, .announce = -1},
        .admin = -1,
    };
    if (getrandom(&n->boot, sizeof(n->boot), 0) != (ssize_t)sizeof(n->boot))
        n->boot = (uint64_t)clock_wall_ms();
    log_open(n->log_fd, LOG_WARN, false, "master");
    log_generation(n->generation);
    return walk(n, opening);
}

int node_take(struct node *n)
{
    return walk(n, taking);
}

void node_close(struct node *n, bool failed)
{
    ports_close(&n->ports);
    cluster_sockets_close(&n->cluster);
    admin_socket_close(n->admin, n->admin_address, &n->user);
    n->admin = -1;
    code_unref(&n->code);
    n->conf = NULL;
    n->bundle = NULL;
    if (n->bundle_fd >= 0)
        close(n->bundle_fd);
    n->bundle_fd = -1;
    pidfile_close(n->pidfile, instance_pidfile(), &n->user);
    n->pidfile = -1;
    if (failed && n->made_run) {
        user_enter(&n->user);
        unlink(instance_log());
        user_leave(&n->user);
        rmdir("run");
    }
    buf_fini(&n->why);
}

void node_bequeath(const struct node *n, struct heritage *h)
{
    h->generation = n->generation;
    h->boot = n->boot;
    h->started = n->started;
    h->parts = instance_parts();
    snprintf(h->node, sizeof(h->node), "%s", n->name);
    snprintf(h->version, sizeof(h->version), "%s", n->options.version);
    h->admin = n->admin;
    snprintf(h->log, sizeof(h->log), "%s", n->log);
    h->bundle = n->bundle_fd;
    h->log_fd = n->log_fd;
    ports_bequeath(&n->ports, h);
    cluster_sockets_bequeath(&n->cluster, h);
}
