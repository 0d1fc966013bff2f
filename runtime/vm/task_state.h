/* task_state.h - shared by vm/task.c and vm/task_run.c only. */
#ifndef SD_VM_TASK_STATE_H
#define SD_VM_TASK_STATE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "codec/wire.h"

/* Arguments or results of one call, as msgpack. */
#define TASK_BODY_MAX (8u << 20)

struct tasks {
    struct vm *vm;
    struct list calls; /* ours, unanswered */
    uint64_t counter;
    unsigned turn; /* where the next choice among equals begins */

    /* The call this process runs. */
    bool running, replied;
    unsigned from;
    struct wire_head head;
    struct buf body;
};

void task_run_fini(struct tasks *t);
void bind_task_run(lua_State *L);

#endif
