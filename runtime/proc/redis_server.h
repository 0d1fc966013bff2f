/* redis_server.h - the private redis-server of a node (url = "embedded").
 *
 * A child of the master on run/redis.sock (0600, no TCP) with an append-only
 * file in run/redis.  It serves before the first worker starts, is started
 * again when it dies, and ends after everything else. */
#ifndef SD_PROC_REDIS_SERVER_H
#define SD_PROC_REDIS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop/loop.h"
#include "proc/user.h"

#define REDIS_SERVER_SOCKET "run/redis.sock"

struct redis_server;

struct redis_server_config {
    struct loop *loop;
    const struct user *user; /* kept */
    int output;              /* as of struct spawn */
    /* It serves, for the first time. */
    void (*on_ready)(void *arg);
    /* Before that: it cannot, and no process is left. */
    void (*on_refused)(void *arg, const char *why);
    void *arg;
};

/* Start it; one of the two functions is called later.  One that is still
 * ending, from a master that was killed, is waited for, and so is one that
 * loads its data.  0, or a negative code with one line in `why`. */
int redis_server_open(struct redis_server **out,
                      const struct redis_server_config *config, char *why,
                      size_t size);

/* A pid from waitpid(): true if it was ours; it is started again, unless it
 * was told to end. */
bool redis_server_on_exit(struct redis_server *r, int pid, int status);

/* Ask it to save and end.  True: it is ending, redis_server_on_exit() will
 * tell; false: no process is left.  Killed after 10 s.  May be called again. */
bool redis_server_stop(struct redis_server *r);

/* Now, without saving; waits for its end. */
void redis_server_close(struct redis_server **rp);

bool redis_server_is_stopping(const struct redis_server *r);

struct redis_server_info {
    pid_t pid; /* 0: none */
    bool is_serving;
    uint64_t started; /* clock_ms() */
    unsigned starts;  /* processes so far */
};

/* `r` may be NULL. */
struct redis_server_info redis_server_info(const struct redis_server *r);

#endif
