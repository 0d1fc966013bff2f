/* crew.h - the master's children: started, watched, started again.
 *
 * One member per slot that shall be filled.  The crew forks, reads leashes,
 * reaps, raises epochs, backs off, opens breakers and lends the listeners of
 * a dead worker to its neighbour.  What crosses exec comes from the owner
 * through on_heritage(). */
#ifndef SD_PROC_CREW_H
#define SD_PROC_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/mesh.h"
#include "loop/loop.h"
#include "proc/heritage.h"
#include "proc/user.h"

struct crew;

struct crew_hooks {
    /* Fill in what is the same for all children; slot, epoch, index, role,
     * respawn, leash and mesh are the crew's. */
    void (*on_heritage)(void *arg, struct heritage *h);
    /* Every member has been ready at the same time, for the first time. */
    void (*on_ready)(void *arg);
    /* Before that: a member cannot start; nothing is started again. */
    void (*on_refused)(void *arg, const char *text);
    /* After crew_build(), once: `why` NULL: everybody whom it takes stands by;
     * else it cannot be. */
    void (*on_built)(void *arg, const char *why);
    /* The breakers of all workers are open; of all relays, when there are no
     * workers. */
    void (*on_broken)(void *arg);
    /* After crew_stop(): no process is left. */
    void (*on_empty)(void *arg);
    void *arg;
};

struct crew_config {
    struct loop *loop;
    struct mesh *mesh;       /* the master's */
    const struct user *user; /* whom children run as */
    unsigned workers, tasks, relays;
    uint64_t stack; /* bytes of C stack for a child */
    int output;     /* stdout and stderr of children, -1: as ours */
    struct crew_hooks hooks;
};

/* Everything in the config is kept or copied until crew_free(). */
struct crew *crew_new(const struct crew_config *config);
void crew_free(struct crew **cp); /* no process may be left */

/* Start one process per slot. */
void crew_start(struct crew *c);

/* Call at SIGCHLD, with a pid from waitpid(): true if it was a member's. */
bool crew_on_exit(struct crew *c, int pid, int status);

/* No worker is started any more; the other processes are. */
void crew_leave(struct crew *c);

/* Then, as often as wanted: worker `i` closes so many conns in 1000 s. */
void crew_pace(struct crew *c, unsigned i, uint32_t rate);

/* No more starting.  Workers end what they are doing, then tasks; what is
 * left after `ms` is killed.  0: kill at once.  May be called again with
 * less.  on_empty() comes later, never inside this call. */
void crew_stop(struct crew *c, uint64_t ms);

/* The process in slot `i`, as the master started it; 0: none. */
int crew_pid(const struct crew *c, unsigned i);

/* Somebody wants to look inside worker `i`, over the socket `fd` (borrowed).
 * 0, or a negative code: it does not serve. */
int crew_attach(struct crew *c, unsigned i, int fd);

/* Somebody asks the agent for `what`, enum agent_ask; as above. */
int crew_ask_agent(struct crew *c, int fd, uint32_t what);

/* Tell every process. */
void crew_reopen_logs(struct crew *c);

/* Let every ready worker, and every task process that is idle, make generation
 * `number` from the sealed bundle, beside the one that serves.  Then one of
 * the other two. */
void crew_build(struct crew *c, unsigned number, int bundle);

/* The number of the last vote, by which a commit is known. */
unsigned crew_vote(const struct crew *c);

/* It serves.  The caller has stored so in shared memory, and gives its bundle
 * to processes that start. */
void crew_commit(struct crew *c, unsigned number, int bundle);

/* It does not come. */
void crew_drop(struct crew *c, unsigned number);

#endif
