/* task_run.c - the task process: runs one call at a time, answers it.
 *
 * A call in a tight loop cannot be asked to stop, so before each one an alarm
 * is set for its deadline plus server.task_grace; the handler writes one line
 * and ends the process, the master fills the slot anew, and the caller gets
 * "timeout" from its own deadline or "crashed". */
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"
#include "vm/task.h"
#include "vm/task_state.h"

static void on_alarm(int signum)
{
    static const char line[] =
        "task: not over when its time and server.task_grace had passed\n";
    ssize_t n = write(STDERR_FILENO, line, sizeof(line) - 1);

    (void)signum;
    (void)n;
    _exit(VM_EXIT_OVERDUE);
}

/* Ring in `ms` from now; 0: not at all. */
static void set_alarm(uint64_t ms)
{
    struct itimerval t = {0};
    struct sigaction sa = {.sa_handler = on_alarm};

    sigaction(SIGALRM, &sa, NULL);
    t.it_value.tv_sec = (time_t)(ms / 1000);
    t.it_value.tv_usec = (suseconds_t)(ms % 1000 * 1000);
    setitimer(ITIMER_REAL, &t, NULL);
}

static void set_busy(struct vm *vm, uint64_t n)
{
    slots_set(mesh_slots(vm->env.mesh), vm->env.slot, SLOT_BUSY, n);
}

/* A call has room for its answer, so this fails only when nobody is there. */
static void reply(struct tasks *t, uint16_t flags, struct slice body)
{
    struct wire_head h = t->head;
    char head[WIRE_HEAD];
    struct slice v[2] = {{head, sizeof(head)}, body};
    int rc;

    h.type = MSG_TASK_REPLY;
    h.flags = (uint16_t)(WIRE_ANSWER | flags);
    h.len = (uint32_t)body.len;
    h.epoch = (uint16_t)t->vm->env.epoch;
    h.slot = (uint8_t)t->vm->env.slot;
    wire_encode(head, &h);
    rc = mesh_send(t->vm->env.mesh, t->from, MSG_TASK_REPLY, MESH_ANSWER, v, 2);
    if (rc < 0 && rc != SD_EGONE && flags == 0) {
        log_warn("task: answer lost (%s)", err_str(rc));
        reply(t, WIRE_ERROR, slice_str("crashed"));
    }
    t->replied = true;
}

static void run_ended(struct co *co, int status)
{
    struct vm *vm = co->vm;
    struct tasks *t = vm->tasks;

    if (status != 0)
        log_error("task: %s", co_error_text(co->L));
    if (!t->replied)
        reply(t, WIRE_ERROR, slice_str("crashed"));
    set_alarm(0);
    t->running = false;
    buf_fini(&t->body);
    set_busy(vm, 0);
    mesh_resume(vm->env.mesh);
}

static void run(struct tasks *t)
{
    struct vm *vm = t->vm;
    uint64_t life = t->head.life_ms;
    bool endless = t->head.life_ms == UINT32_MAX;
    struct co *co =
        vm_enter(vm, vm->entry[ENTRY_TASK], CO_CALL, endless ? 0 : life);

    if (co == NULL) {
        reply(t, WIRE_ERROR, slice_str("crashed"));
        t->running = false;
        return;
    }
    set_busy(vm, 1);
    if (!endless)
        set_alarm(life + vm->env.conf->server.task_grace + 1);
    co->on_end = run_ended;
    co_start(co, 0);
}

struct search {
    uint64_t counter;
    bool found;
};

static int look(void *arg, const struct mesh_msg *m)
{
    struct search *s = arg;
    struct msg_task_cancel cancel;
    struct wire_head h;
    struct slice body;

    if (m->type == MSG_TASK_CANCEL && wire_read(&h, &body, m->body) > 0 &&
        body.len == sizeof(cancel)) {
        memcpy(&cancel, body.p, sizeof(cancel));
        s->found = s->found || cancel.counter == s->counter;
    }
    return 0;
}

/* Has the caller of the call at hand given up? */
static bool is_cancelled(struct tasks *t)
{
    struct search s = {t->head.counter, false};

    mesh_walk(t->vm->env.mesh, t->from, look, &s);
    return s.found;
}

enum mesh_verdict tasks_on_call(struct vm *vm, const struct mesh_msg *m)
{
    struct tasks *t = vm->tasks;
    struct slice body;

    if (t->running)
        return MESH_HOLD;
    if (wire_decode(&t->head, m->body) < 0)
        return MESH_DONE;
    t->from = m->from;
    t->replied = false;
    t->running = true;
    if (m->err < 0 || wire_read(&t->head, &body, m->body) < 0) {
        reply(t, WIRE_ERROR, slice_str("crashed"));
        t->running = false;
        return MESH_DONE;
    }
    buf_append(&t->body, body.p, body.len);
    mesh_pop_now(vm->env.mesh);
    if (!is_cancelled(t)) {
        run(t);
        return MESH_DONE;
    }
    /* Nobody waits: in an overload only living calls are worth the time. */
    reply(t, WIRE_ERROR, slice_str("timeout"));
    buf_fini(&t->body);
    t->running = false;
    return MESH_DONE;
}

void task_run_fini(struct tasks *t)
{
    buf_fini(&t->body);
}

/* core.task_take() -> {task, method, context, args} */
static int l_take(lua_State *L)
{
    struct tasks *t = vm_of(L)->tasks;
    const char *why;

    if (lua_msgpack_decode(L, buf_slice(&t->body), &why) < 0)
        return luaL_error(L, "unreadable task call: %s", why);
    return 1;
}

/* core.task_reply({result, err, code}) -> true, or nil, "too_large"; raises
 * what is no plain data */
static int l_reply(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct tasks *t = vm->tasks;
    const char *why;

    if (t->replied || !t->running)
        return 0;
    buf_consume(&vm->scratch, vm->scratch.len);
    if (lua_msgpack_encode(L, 1, &vm->scratch, &why) < 0)
        return co_raise(L, "result of a task: %s", why);
    if (vm->scratch.len > TASK_BODY_MAX) {
        reply(t, WIRE_ERROR, slice_str("too_large"));
        return 0;
    }
    reply(t, 0, buf_slice(&vm->scratch));
    lua_pushboolean(L, 1);
    return 1;
}

/* core.task_is_cancelled() -> has the caller given up? */
static int l_is_cancelled(lua_State *L)
{
    struct tasks *t = vm_of(L)->tasks;

    lua_pushboolean(L, t->running && is_cancelled(t));
    return 1;
}

static const luaL_Reg functions[] = {
    {"task_take", l_take},
    {"task_reply", l_reply},
    {"task_is_cancelled", l_is_cancelled},
    {NULL, NULL},
};

void bind_task_run(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
