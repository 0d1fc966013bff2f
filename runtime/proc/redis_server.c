/* redis_server.c - one lock file decides who may use the folder.
 *
 * The descriptor that holds the lock (flock) is inherited by redis-server and
 * closed here, so the lock lasts exactly as long as that process, however the
 * master ended.  A new start that finds it taken waits: the old process gets
 * SIGTERM at the master's death and is saving.  A path to its socket would
 * not do: an ending redis-server unlinks whatever lies there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/timer.h"
#include "proc/backoff.h"
#include "proc/redis_ping.h"
#include "proc/redis_server.h"
#include "proc/spawn.h"

#define PROGRAM "redis-server"
#define FOLDER  "run/redis"
#define LOCK    "run/redis/lock"

enum {
    REDIS_MAGIC = 0x72647376,
    LOCK_WAIT = 15000,  /* ms for a dying one to end */
    START_WAIT = 10000, /* ms to answer at all */
    LOAD_WAIT = 600000, /* ms from one word of loading to the next */
    STOP_WAIT = 10000,
    STEP = 10, /* ms between two looks */
};

enum redis_state {
    REDIS_LOCKING,  /* waits for the folder's lock */
    REDIS_STARTING, /* has a process that does not serve yet */
    REDIS_SERVING,
    REDIS_WAITING, /* until back-off lets the next one start */
    REDIS_STOPPING,
    REDIS_REFUSED, /* never served, and will not */
};

struct redis_server {
    unsigned magic;
    struct redis_server_config config;
    enum redis_state state;
    bool served;      /* at least once */
    pid_t pid;        /* 0: none */
    uint64_t started; /* clock_ms(), that one */
    unsigned starts;
    uint64_t limit; /* clock_ms(): what LOCKING and STARTING wait for is late */
    struct redis_ping ping;
    const char *why;    /* we killed it, or NULL */
    struct timer timer; /* the next look; while stopping, its limit */
    struct backoff backoff;
};

static bool is_installed(void)
{
    const char *path = getenv("PATH");
    char file[4096];

    while (path != NULL && *path != '\0') {
        size_t n = strcspn(path, ":");

        snprintf(file, sizeof(file), "%.*s/" PROGRAM, (int)n, path);
        if (access(file, X_OK) == 0)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

static int make_folder(const struct user *user)
{
    int err;

    user_enter(user);
    err = mkdir(FOLDER, 0700) < 0 && errno != EEXIST ? -errno : 0;
    user_leave(user);
    return err;
}

/* The lock's descriptor, or SD_EBUSY. */
static int take_lock(const struct user *user)
{
    int fd, err;

    user_enter(user);
    fd = open(LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
              0600);
    err = -errno;
    user_leave(user);
    if (fd < 0)
        return err;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    err = errno == EWOULDBLOCK ? SD_EBUSY : -errno;
    close(fd);
    return err;
}

/* redis-server changes into `dir` first; the other paths start there. */
static pid_t spawn(struct redis_server *r, int lock)
{
    static const char *const args[] = {
        PROGRAM,
        "--dir",
        FOLDER,
        "--port",
        "0",
        "--unixsocket",
        "../redis.sock",
        "--unixsocketperm",
        "600",
        "--appendonly",
        "yes",
        "--save",
        "",
        "--maxmemory-policy",
        "noeviction",
        "--logfile",
        "redis.log",
        "--daemonize",
        "no",
        NULL,
    };
    char *argv[sizeof(args) / sizeof(args[0])];
    struct spawn s = {
        .binary = -1,
        .argv = argv,
        .fds = &lock,
        .nfds = 1,
        .user = r->config.user,
        .output = r->config.output,
        .death_signal = SIGTERM,
    };
    pid_t pid;

    for (unsigned i = 0; i < sizeof(args) / sizeof(args[0]); i++)
        argv[i] = args[i] != NULL ? mem_dup(args[i], strlen(args[i])) : NULL;
    pid = spawn_child(&s);
    for (unsigned i = 0; argv[i] != NULL; i++)
        mem_free(argv[i]);
    return pid;
}

/* --- one life ------------------------------------------------------------- */

static void look_again(struct redis_server *r, uint64_t ms)
{
    timer_start(r->config.loop, &r->timer, ms);
}

/* It ended, or cannot begin: the end of the start, or a reason to retry. */
static void fail(struct redis_server *r, const char *why)
{
    char text[256];
    uint64_t wait;

    redis_ping_close(&r->ping);
    if (!r->served) {
        r->state = REDIS_REFUSED;
        snprintf(text, sizeof(text), "redis: %s", why);
        r->config.on_refused(r->config.arg, text);
        return;
    }
    r->state = REDIS_WAITING;
    wait = backoff_on_crash(&r->backoff, clock_ms(), (uint32_t)clock_ns());
    log_error(PROGRAM " ended: %s; next start in %u ms", why, (unsigned)wait);
    look_again(r, wait);
}

static void begin(struct redis_server *r)
{
    r->state = REDIS_LOCKING;
    r->limit = clock_ms() + LOCK_WAIT;
    r->why = NULL;
    look_again(r, 1);
}

static void look_at_lock(struct redis_server *r)
{
    int lock = take_lock(r->config.user);
    pid_t pid;

    if (lock == SD_EBUSY && clock_ms() < r->limit) {
        look_again(r, STEP);
        return;
    }
    pid = lock >= 0 ? spawn(r, lock) : lock;
    if (lock >= 0)
        close(lock);
    if (pid < 0) {
        fail(r, lock == SD_EBUSY ? "another " PROGRAM " still uses " FOLDER
                                 : err_str((int)pid));
        return;
    }
    r->pid = pid;
    r->started = clock_ms();
    r->starts++;
    r->state = REDIS_STARTING;
    r->limit = clock_ms() + START_WAIT;
    look_again(r, STEP);
}

static void on_serving(struct redis_server *r)
{
    r->state = REDIS_SERVING;
    backoff_on_ready(&r->backoff, clock_ms());
    if (r->served) {
        log_info(PROGRAM " (pid %d) serves again", (int)r->pid);
        return;
    }
    r->served = true;
    r->config.on_ready(r->config.arg);
}

static void look_for_answer(struct redis_server *r)
{
    enum redis_answer answer = redis_ping_step(&r->ping, REDIS_SERVER_SOCKET);

    if (answer == REDIS_SERVES) {
        on_serving(r);
        return;
    }
    if (answer == REDIS_LOADING)
        r->limit = clock_ms() + LOAD_WAIT;
    if (clock_ms() >= r->limit) {
        r->why = "it does not answer: see " FOLDER "/redis.log";
        kill(r->pid, SIGKILL);
        return;
    }
    look_again(r, STEP);
}

static void on_timer(struct timer *t)
{
    struct redis_server *r = list_entry(t, struct redis_server, timer);

    sd_check(r, REDIS_MAGIC);
    switch (r->state) {
    case REDIS_LOCKING:
        look_at_lock(r);
        break;
    case REDIS_STARTING:
        look_for_answer(r);
        break;
    case REDIS_WAITING:
        begin(r);
        break;
    case REDIS_STOPPING:
        log_warn(PROGRAM " did not end in time: killed");
        kill(r->pid, SIGKILL);
        break;
    case REDIS_SERVING:
    case REDIS_REFUSED:
        break;
    }
}

/* --- the public calls ----------------------------------------------------- */

int redis_server_open(struct redis_server **out,
                      const struct redis_server_config *config, char *why,
                      size_t size)
{
    struct redis_server *r;
    int err;

    if (!is_installed()) {
        snprintf(why, size,
                 "redis: url = \"embedded\" needs " PROGRAM
                 ", which is not installed");
        return SD_EUNAVAILABLE;
    }
    err = make_folder(config->user);
    if (err < 0) {
        snprintf(why, size, "redis: " FOLDER ": %s", err_str(err));
        return err;
    }
    r = mem_zalloc(sizeof(*r));
    r->magic = REDIS_MAGIC;
    r->config = *config;
    r->ping.fd = -1;
    r->timer.fn = on_timer;
    begin(r);
    *out = r;
    return 0;
}

bool redis_server_on_exit(struct redis_server *r, int pid, int status)
{
    char why[96];

    if (r == NULL || r->pid != pid)
        return false;
    sd_check(r, REDIS_MAGIC);
    r->pid = 0;
    timer_stop(r->config.loop, &r->timer);
    spawn_status_text(status, why, sizeof(why));
    if (r->state == REDIS_STARTING && !r->served)
        snprintf(why, sizeof(why),
                 PROGRAM " ended at once: see " FOLDER "/redis.log");
    if (r->state != REDIS_STOPPING)
        fail(r, r->why != NULL ? r->why : why);
    return true;
}

bool redis_server_stop(struct redis_server *r)
{
    if (r == NULL)
        return false;
    sd_check(r, REDIS_MAGIC);
    if (r->state != REDIS_STOPPING && r->pid != 0) {
        kill(r->pid, SIGTERM);
        look_again(r, STOP_WAIT);
    } else if (r->pid == 0) {
        timer_stop(r->config.loop, &r->timer);
    }
    r->state = REDIS_STOPPING;
    return r->pid != 0;
}

void redis_server_close(struct redis_server **rp)
{
    struct redis_server *r = *rp;

    if (r == NULL)
        return;
    sd_check(r, REDIS_MAGIC);
    timer_stop(r->config.loop, &r->timer);
    redis_ping_close(&r->ping);
    if (r->pid > 0) {
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
    }
    user_enter(r->config.user);
    unlink(REDIS_SERVER_SOCKET);
    user_leave(r->config.user);
    r->magic = 0;
    mem_free(r);
    *rp = NULL;
}

bool redis_server_is_stopping(const struct redis_server *r)
{
    return r != NULL && r->state == REDIS_STOPPING;
}

struct redis_server_info redis_server_info(const struct redis_server *r)
{
    if (r == NULL)
        return (struct redis_server_info){0};
    sd_check(r, REDIS_MAGIC);
    return (struct redis_server_info){
        .pid = r->pid,
        .is_serving = r->state == REDIS_SERVING,
        .started = r->started,
        .starts = r->starts,
    };
}
