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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/timer.h"
#include "proc/backoff.h"
#include "proc/redis_server.h"
#include "proc/spawn.h"

#define PROGRAM "redis-server"
#define FOLDER  "run/redis"
#define LOCK    "run/redis/lock"

enum {
    REDIS_MAGIC = 0x72647376,
    LOCK_WAIT = 15000,  /* ms for a dying one to end */
    START_WAIT = 10000, /* ms to answer at all */
    LOAD_WAIT = 600000, /* ms while it says that it is loading */
    STOP_WAIT = 10000,
    STEP = 10000, /* us */
};

struct redis_server {
    unsigned magic;
    struct loop *loop;
    const struct user *user;
    int output;
    pid_t pid; /* 0: none */
    bool stopping;
    struct timer next; /* the next start; while stopping, its limit */
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

/* The folder, belonging to the user with all that is in it. */
static int make_folder(const struct user *user)
{
    if (mkdir(FOLDER, 0700) < 0 && errno != EEXIST)
        return -errno;
    return user_own(user, FOLDER);
}

/* The lock's descriptor, or SD_EBUSY when `ms` passed. */
static int take_lock(const struct user *user, uint64_t ms)
{
    uint64_t limit = clock_ms() + ms;
    int fd = open(LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -errno;
    user_own(user, LOCK);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (clock_ms() >= limit) {
            close(fd);
            return SD_EBUSY;
        }
        usleep(STEP);
    }
    return fd;
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
        .user = r->user,
        .output = r->output,
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

static int start(struct redis_server *r, uint64_t lock_wait)
{
    int lock = take_lock(r->user, lock_wait);
    pid_t pid;

    if (lock < 0)
        return lock;
    pid = spawn(r, lock);
    close(lock);
    if (pid < 0)
        return (int)pid;
    r->pid = pid;
    return 0;
}

enum ping {
    PING_NOTHING,
    PING_LOADING,
    PING_READY
};

static enum ping ping(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX,
                            .sun_path = REDIS_SERVER_SOCKET};
    struct timeval wait = {.tv_sec = 1};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    enum ping answer = PING_NOTHING;
    char text[16];
    ssize_t n;

    if (fd < 0)
        return answer;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
        send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6) {
        n = recv(fd, text, sizeof(text), 0);
        if (n >= 5 && memcmp(text, "+PONG", 5) == 0)
            answer = PING_READY;
        else if (n > 0)
            answer = PING_LOADING;
    }
    close(fd);
    return answer;
}

/* 0, SD_ETIMEOUT, or SD_ECRASHED: it ended (and was reaped). */
static int wait_ready(struct redis_server *r)
{
    uint64_t begin = clock_ms();
    uint64_t wait = START_WAIT;
    int status;

    while (clock_ms() - begin < wait) {
        enum ping answer = ping();

        if (answer == PING_READY)
            return 0;
        if (answer == PING_LOADING)
            wait = LOAD_WAIT;
        if (waitpid(r->pid, &status, WNOHANG) == r->pid) {
            r->pid = 0;
            return SD_ECRASHED;
        }
        usleep(STEP);
    }
    return SD_ETIMEOUT;
}

static void retry(struct redis_server *r, const char *why)
{
    uint64_t wait =
        backoff_on_crash(&r->backoff, clock_ms(), (uint32_t)clock_ns());

    log_error(PROGRAM " ended: %s; next start in %u ms", why, (unsigned)wait);
    timer_start(r->loop, &r->next, wait);
}

static void on_next(struct timer *t)
{
    struct redis_server *r = list_entry(t, struct redis_server, next);
    int err;

    sd_check(r, REDIS_MAGIC);
    if (r->stopping) {
        log_warn(PROGRAM " did not end in time: killed");
        kill(r->pid, SIGKILL);
        return;
    }
    err = start(r, 0);
    if (err < 0) {
        retry(r, err_str(err));
        return;
    }
    log_info(PROGRAM " (pid %d) was started again", (int)r->pid);
    backoff_on_ready(&r->backoff, clock_ms());
}

static const char *explain(int err)
{
    switch (err) {
    case SD_EBUSY:
        return "another " PROGRAM " still uses " FOLDER;
    case SD_ECRASHED:
        return PROGRAM " ended at once: see " FOLDER "/redis.log";
    case SD_ETIMEOUT:
        return PROGRAM " does not answer: see " FOLDER "/redis.log";
    default:
        return err_str(err);
    }
}

int redis_server_open(struct redis_server **out, struct loop *l,
                      const struct user *user, int output, char *why,
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
    r = mem_zalloc(sizeof(*r));
    r->magic = REDIS_MAGIC;
    r->loop = l;
    r->user = user;
    r->output = output;
    r->next.fn = on_next;
    err = make_folder(user);
    if (err == 0)
        err = start(r, LOCK_WAIT);
    if (err == 0)
        err = wait_ready(r);
    if (err < 0) {
        snprintf(why, size, "redis: %s", explain(err));
        redis_server_close(&r);
        return err;
    }
    backoff_on_ready(&r->backoff, clock_ms());
    *out = r;
    return 0;
}

bool redis_server_on_exit(struct redis_server *r, int pid, int status)
{
    char why[64];

    if (r == NULL || r->pid != pid)
        return false;
    sd_check(r, REDIS_MAGIC);
    r->pid = 0;
    timer_stop(r->loop, &r->next);
    if (!r->stopping) {
        spawn_status_text(status, why, sizeof(why));
        retry(r, why);
    }
    return true;
}

bool redis_server_stop(struct redis_server *r)
{
    if (r == NULL)
        return false;
    sd_check(r, REDIS_MAGIC);
    timer_stop(r->loop, &r->next);
    r->stopping = true;
    if (r->pid == 0)
        return false;
    kill(r->pid, SIGTERM);
    timer_start(r->loop, &r->next, STOP_WAIT);
    return true;
}

void redis_server_close(struct redis_server **rp)
{
    struct redis_server *r = *rp;

    if (r == NULL)
        return;
    sd_check(r, REDIS_MAGIC);
    timer_stop(r->loop, &r->next);
    if (r->pid > 0) {
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
    }
    unlink(REDIS_SERVER_SOCKET);
    r->magic = 0;
    mem_free(r);
    *rp = NULL;
}

bool redis_server_is_stopping(const struct redis_server *r)
{
    return r != NULL && r->stopping;
}

pid_t redis_server_pid(const struct redis_server *r)
{
    return r != NULL ? r->pid : 0;
}
