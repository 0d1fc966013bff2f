/* task_state.h - shared by vm/task.c and vm/task_run.c only. */
#ifndef SD_VM_TASK_STATE_H
#define SD_VM_TASK_STATE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "codec/wire.h"
#include "loop/wheel.h"

/* Arguments or results of one call, as msgpack. */
#define TASK_BODY_MAX (8u << 20)

struct tasks {
    struct vms *all;
    struct list calls; /* ours, unanswered */
    uint64_t counter;
    unsigned turn; /* where the next choice among equals begins */

    /* The call this process runs. */
    uint64_t taken; /* calls so far */
    bool running, replied;
    bool is_cancelled; /* its caller has said so */
    bool is_orphan;    /* its caller has died */
    unsigned from;
    uint16_t epoch; /* of the caller's process */
    struct wire_head head;
    struct buf body;

    /* Its answer, when there was no room for it. */
    uint16_t late_flags;
    struct buf late;
    uint64_t late_until; /* ms */
    struct timer retry;
};

/* Send a call of any type, for whose answer a coroutine of `vm` may wait, and
 * keep it until it is answered.  0, or as
 * mesh_send(). */
int tasks_send(struct tasks *t, struct vm *vm, unsigned slot,
               const struct wire_head *h, struct slice body);

/* Results of an answer: a list [result, err, code], or an error word. */
struct task_reply {
    struct slice value; /* msgpack; len 0: err instead */
    int err;
    bool is_unsent;
};

/* Push them; a co_take_fn. */
int task_take_reply(lua_State *L, void *answer);

/* In a task process: take an answer that waits in a ring behind calls, which
 * wait until the running one has ended. */
void tasks_look_ahead(struct tasks *t);

void task_run_init(struct tasks *t);

void task_run_fini(struct tasks *t);
void bind_task_run(lua_State *L);

#endif
