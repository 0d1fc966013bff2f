/* member.h - one slot of the node, as the master sees it: the process that
 * fills it now, and when the next one may. */
#ifndef SD_PROC_MEMBER_H
#define SD_PROC_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/mesh.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "proc/backoff.h"
#include "proc/heritage.h"
#include "proc/leash.h"
#include "proc/user.h"

struct member;
struct pollfd_watch;

/* What all members share; borrowed while they live. */
struct member_env {
    struct loop *loop;
    struct mesh *mesh; /* the master's */
    const struct user *user;
    uint64_t stack; /* bytes of C stack for a child */
    int output;     /* stdout and stderr of children, -1: as ours */
    /* Fill in what is the same for all children; role, slot, epoch, index,
     * respawn, leash and mesh are the member's. */
    void (*on_heritage)(void *arg, struct heritage *h);
    void (*on_ready)(void *arg, struct member *m);
    /* It has the generation of this vote standing by, or cannot: `why`. */
    void (*on_built)(void *arg, struct member *m, unsigned serial,
                     const char *why);
    /* Its process was reaped, or could not be made.  `why` for people;
     * `crashed`: it ended without being told or wanting to. */
    void (*on_end)(void *arg, struct member *m, const char *why, bool crashed);
    void *arg;
};

/* Private, but for `slot`, `role`, `index`, `pid` and `user_*`. */
struct member {
    unsigned magic;
    const struct member_env *env;
    unsigned slot, index;
    enum slot_role role;
    pid_t pid;      /* 0: none */
    pid_t last;     /* for log lines: the pid, also when it has ended */
    unsigned lives; /* processes so far */
    int leash;      /* -1: none */
    struct pollfd_watch *watch;
    char *refusal; /* what the child said of why it cannot start */
    bool told_to_end, is_killed; /* by us */
    struct timer next; /* the next start; while one starts, its limit */
    struct backoff backoff;
};

void member_init(struct member *m, const struct member_env *env, unsigned slot);
void member_fini(struct member *m); /* no process may be left */

/* Start a process.  Failure to do so is an end: on_end(). */
void member_start(struct member *m);

/* After on_end(): start again when back-off says so; logs one line. */
void member_retry(struct member *m, const char *why, bool crashed);

/* No retry any more. */
void member_rest(struct member *m);

/* waitpid() gave this member's pid. */
void member_reaped(struct member *m, int status);

void member_tell(struct member *m, enum leash_type type, uint32_t number);

/* A generation: `bundle` is borrowed; `serial` comes back with on_built().
 * 0 or a negative code. */
int member_tell_code(struct member *m, enum leash_type type, uint32_t number,
                     uint32_t serial, int bundle);

/* Start it now if it waits for that, as if it had never crashed. */
void member_hurry(struct member *m);

/* Give it the descriptor of somebody who wants to look inside (borrowed), or
 * asks an agent for something, enum agent_ask.  0 or a negative code. */
int member_attach(struct member *m, int fd, uint32_t what);

/* Tell it to end in order, or to close its conns at a pace (LEASH_LEAVE); if
 * it has not begun yet, kill it. */
void member_drain(struct member *m, uint32_t ms);
void member_leave(struct member *m, uint32_t rate);
void member_kill(struct member *m);

enum slot_state member_state(const struct member *m);

/* "worker 0"; as long as the member. */
void member_name(const struct member *m, char *name, size_t size);

#endif
