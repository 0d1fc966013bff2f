/* task_run.c - the task process: runs one call at a time, answers it.
 *
 * A call in a tight loop cannot be asked to stop, so before each one an alarm
 * is set for its deadline plus server.task_grace; the handler writes one line
 * and ends the process, the master fills the slot anew, and the caller gets
 * "timeout" from its own deadline or "crashed".
 *
 * A call has room for its answer, but a large one also needs a descriptor and
 * a place in the caller's queue of them.  When there is none the answer is
 * kept and tried again; until it is gone, or its time is over, no other call
 * begins.
 *
 * The caller's process may die meanwhile.  Its slot is filled anew, and the
 * successor must not get answers to what it never asked. */
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "loop/timer.h"
#include "vm/decode.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"
#include "vm/task.h"
#include "vm/task_state.h"

enum {
    RETRY_MS = 5 /* an answer without room is tried again */
};

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

static void set_busy(struct vms *all, uint64_t n)
{
    slots_set(mesh_slots(all->env.mesh), all->env.slot, SLOT_BUSY, n);
}

static int send_answer(struct tasks *t, uint16_t flags, struct slice body)
{
    struct wire_head h = t->head;
    char head[WIRE_HEAD];
    struct slice v[2] = {{head, sizeof(head)}, body};

    h.type = MSG_TASK_REPLY;
    h.flags = (uint16_t)(WIRE_ANSWER | flags);
    h.len = (uint32_t)body.len;
    h.epoch = (uint16_t)t->all->env.epoch;
    h.slot = (uint8_t)t->all->env.slot;
    wire_encode(head, &h);
    return mesh_send(t->all->env.mesh, t->from, MSG_TASK_REPLY, MESH_ANSWER, v,
                     2);
}

/* Give the answer to the caller.  False: there is no room now. */
static bool give(struct tasks *t, uint16_t flags, struct slice body)
{
    int rc = t->is_orphan ? 0 : send_answer(t, flags, body);

    if (rc == SD_EBUSY || rc == SD_EUNAVAILABLE)
        return false;
    if (rc < 0 && rc != SD_EGONE)
        log_error("task: answer lost (%s)", err_str(rc));
    return true;
}

static void reply(struct tasks *t, uint16_t flags, struct slice body)
{
    t->replied = true;
    if (give(t, flags, body))
        return;
    t->late_flags = flags;
    buf_append(&t->late, body.p, body.len);
}

/* An error word is short: there always is room for it. */
static void refuse(struct tasks *t, const char *word)
{
    reply(t, WIRE_ERROR, slice_str(word));
}

/* The call is over and answered: on to the next. */
static void finish(struct tasks *t)
{
    buf_fini(&t->body);
    buf_fini(&t->late);
    t->running = false;
    set_busy(t->all, 0);
    mesh_resume(t->all->env.mesh);
}

static void on_retry(struct timer *timer)
{
    struct tasks *t = list_entry(timer, struct tasks, retry);
    bool is_over = clock_ms() >= t->late_until;

    if (give(t, t->late_flags, buf_slice(&t->late))) {
        finish(t);
    } else if (!is_over) {
        timer_start(t->all->env.loop, &t->retry, RETRY_MS);
    } else {
        log_error("task: no room for an answer as long as it was wanted");
        (void)give(t, WIRE_ERROR, slice_str("timeout"));
        finish(t);
    }
}

static void run_ended(struct co *co, int status)
{
    struct vm *vm = co->vm;
    struct tasks *t = vm->all->tasks;

    if (status != 0)
        log_error("task: %s", co_error_text(co->L));
    if (!t->replied)
        refuse(t, "crashed");
    set_alarm(0);
    if (t->late.len > 0)
        timer_start(vm->env.loop, &t->retry, RETRY_MS);
    else
        finish(t);
}

static void run(struct tasks *t)
{
    struct vm *vm = vms_now(t->all);
    uint64_t life = t->head.life_ms;
    bool endless = t->head.life_ms == UINT32_MAX;
    struct co *co =
        vm_enter(vm, vm->entry[ENTRY_TASK], CO_CALL, endless ? 0 : life);

    if (co == NULL) {
        refuse(t, "crashed");
        finish(t);
        return;
    }
    t->late_until = endless ? UINT64_MAX : clock_ms() + life;
    set_busy(t->all, 1);
    if (!endless)
        set_alarm(life + vm->env.conf->server.task_grace + 1);
    co->on_end = run_ended;
    co_start(co, 0);
}

/* Does `m` cancel the call at hand?  A walk ends where it does. */
static int cancels(void *arg, const struct mesh_msg *m)
{
    const struct tasks *t = arg;
    struct msg_task_cancel cancel;
    struct wire_head h;
    struct slice body;

    if (m->type != MSG_TASK_CANCEL || wire_read(&h, &body, m->body) < 0 ||
        body.len != sizeof(cancel))
        return 0;
    memcpy(&cancel, body.p, sizeof(cancel));
    return cancel.counter == t->head.counter;
}

/* Has the caller of the call at hand given up?  While the call blocks, what
 * says so waits in the ring; while it waits in the loop, it has come. */
static bool is_cancelled(struct tasks *t)
{
    if (!t->is_cancelled && !t->is_orphan)
        t->is_cancelled = mesh_walk(t->all->env.mesh, t->from, cancels, t);
    return t->is_cancelled || (t->is_orphan && t->head.ticket.generation != 0);
}

void tasks_on_cancel(struct tasks *t, const struct mesh_msg *m)
{
    if (t->running && t->from == m->from && t->epoch == m->epoch)
        t->is_cancelled |= cancels(t, m) != 0;
}

/* Take the call of `m` to be the one at hand.  False: it is unreadable. */
static bool take_call(struct tasks *t, const struct mesh_msg *m)
{
    struct msg_task_call call;
    uint64_t now = clock_ms();
    struct slice body;

    t->taken++;
    t->from = m->from;
    t->epoch = m->epoch;
    t->replied = t->is_cancelled = false;
    t->is_orphan = m->dead;
    t->running = true;
    if (m->err < 0 || wire_read(&t->head, &body, m->body) < 0 ||
        body.len < sizeof(call))
        return false;
    memcpy(&call, body.p, sizeof(call));
    body = slice_skip(body, sizeof(call));
    buf_append(&t->body, body.p, body.len);
    if (!wire_age(&t->head, now > call.sent ? now - call.sent : 0))
        t->is_cancelled = true;
    return true;
}

enum mesh_verdict tasks_on_call(struct tasks *t, const struct mesh_msg *m)
{
    if (t->running)
        return MESH_HOLD;
    if (wire_decode(&t->head, m->body) < 0)
        return MESH_DONE;
    if (!take_call(t, m)) {
        refuse(t, "crashed");
        finish(t);
        return MESH_DONE;
    }
    mesh_pop_now(t->all->env.mesh);
    if (!is_cancelled(t)) {
        run(t);
        return MESH_DONE;
    }
    /* Nobody waits: in an overload only living calls are worth the time. */
    refuse(t, "timeout");
    finish(t);
    return MESH_DONE;
}

void task_run_init(struct tasks *t)
{
    t->retry.fn = on_retry;
}

void task_run_fini(struct tasks *t)
{
    timer_stop(t->all->env.loop, &t->retry);
    buf_fini(&t->body);
    buf_fini(&t->late);
}

/* core.task_take() -> {task, method, context, args} */
static int l_take(lua_State *L)
{
    struct tasks *t = vm_of(L)->all->tasks;
    const char *why;

    if (decode_msgpack(L, buf_slice(&t->body), &why) < 0)
        return luaL_error(L, "unreadable task call: %s", why);
    return 1;
}

/* core.task_reply({result, err, code}) -> true, or nil, "too_large"; raises
 * what is no plain data */
static int l_reply(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct tasks *t = vm->all->tasks;
    const char *why;

    if (t->replied || !t->running)
        return 0;
    buf_consume(&vm->scratch, vm->scratch.len);
    if (lua_msgpack_encode(L, 1, &vm->scratch, &why) < 0)
        return co_raise(L, "result of a task: %s", why);
    if (vm->scratch.len > TASK_BODY_MAX) {
        refuse(t, "too_large");
        return 0;
    }
    reply(t, 0, buf_slice(&vm->scratch));
    lua_pushboolean(L, 1);
    return 1;
}

/* core.task_is_cancelled() -> has the caller given up? */
static int l_is_cancelled(lua_State *L)
{
    struct tasks *t = vm_of(L)->all->tasks;

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
