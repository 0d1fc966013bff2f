/* task.c - see task.h: the worker's side, calls and their answers.
 *
 * The mesh gives back what a dead task had not popped; what it had popped is
 * in our list of unanswered calls, by slot and epoch, and ends as "crashed".
 * A call that came back unpopped has not run, so it is sent to another task
 * once more; that keeps "at most once".
 *
 * Whether a call was sent at all the error word cannot tell: a method may
 * itself answer nil, "busy".  So what never left has a mark of its own, and
 * only such a call may be sent again (lua/sd/task.lua). */
#include "vm/task.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/wire.h"
#include "ipc/msg.h"
#include "ipc/slots.h"
#include "vm/decode.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"
#include "vm/task_state.h"

enum {
    LIFE_MARGIN = 100 /* ms; see life_of() */
};

/* One call that has not been answered. */
struct call {
    struct list link;
    uint64_t counter;
    unsigned slot;
    uint16_t epoch;
    struct vm *vm;        /* whose coroutine waits */
    struct ticket ticket; /* wait 0: nobody waits */
};

struct tasks *tasks_new(struct vms *all)
{
    struct tasks *t = mem_zalloc(sizeof(*t));

    t->all = all;
    list_init(&t->calls);
    task_run_init(t);
    return t;
}

void tasks_free(struct tasks **tp)
{
    struct tasks *t = *tp;

    while (!list_empty(&t->calls)) {
        struct call *call = list_entry(t->calls.next, struct call, link);

        list_del(&call->link);
        mem_free(call);
    }
    task_run_fini(t);
    mem_free(t);
    *tp = NULL;
}

/* The ready task process with the fewest calls, ours included; -1: none. */
static int choose(struct tasks *t)
{
    struct mesh *m = t->all->env.mesh;
    struct slots *slots = mesh_slots(m);
    unsigned i, n = slots_count(slots);
    uint64_t best = UINT64_MAX;
    int chosen = -1;

    for (i = 0; i < n; i++) {
        unsigned slot = (i + t->turn) % n;
        uint64_t busy;

        if (slots_role(slots, slot) != SLOT_TASK ||
            slots_state(slots, slot) != SLOT_READY)
            continue;
        busy = slots_get(slots, slot, SLOT_BUSY) + mesh_calls(m, slot);
        if (busy < best) {
            best = busy;
            chosen = (int)slot;
        }
    }
    if (chosen >= 0)
        t->turn = (unsigned)chosen + 1;
    return chosen;
}

static struct call *find_call(struct tasks *t, uint64_t counter)
{
    struct list *it;

    list_each (it, &t->calls) {
        struct call *call = list_entry(it, struct call, link);

        if (call->counter == counter)
            return call;
    }
    return NULL;
}

int tasks_send(struct tasks *t, struct vm *vm, unsigned slot,
               const struct wire_head *h, struct slice body)
{
    struct mesh *m = t->all->env.mesh;
    char head[WIRE_HEAD];
    struct slice v[2] = {{head, sizeof(head)}, body};
    struct call *call;
    uint16_t epoch;
    int rc;

    /* Asked first: when the send succeeds, it went to this epoch. */
    epoch = slots_epoch(mesh_slots(m), slot);
    wire_encode(head, h);
    rc = mesh_send(m, slot, h->type, MESH_CALL, v, 2);
    if (rc < 0)
        return rc;
    call = mem_zalloc(sizeof(*call));
    call->counter = h->counter;
    call->vm = vm;
    call->slot = slot;
    call->epoch = epoch;
    call->ticket = (struct ticket){h->ticket.index, h->ticket.generation};
    list_add(&t->calls, &call->link);
    return 0;
}

/* `body` begins with a struct msg_task_call. */
static int send_call(struct tasks *t, struct vm *vm, const struct wire_head *h,
                     struct slice body)
{
    int slot = choose(t), rc;

    if (slot < 0)
        return SD_EUNAVAILABLE;
    rc = tasks_send(t, vm, (unsigned)slot, h, body);
    /* gone: filled anew, which the mesh has not seen yet */
    return rc == SD_EGONE ? SD_EUNAVAILABLE : rc;
}

/* Results of a call that never left: nil, word, nil, true. */
static int push_unsent(lua_State *L, int err)
{
    lua_pushnil(L);
    lua_pushstring(L, err_word(err));
    lua_pushnil(L);
    lua_pushboolean(L, 1);
    return 4;
}

/* What a call may take in the task process: a little more than its caller
 * waits, so that it is the caller's own deadline that says "timeout". */
static uint32_t life_of(double ms, bool wait)
{
    if (wait)
        ms += LIFE_MARGIN;
    return ms < 4e9 ? (uint32_t)ms : UINT32_MAX;
}

/* core.task_call({task, method, context, args}, ms, wait) -> settle() makes
 * results; without wait: true, or nil, word, nil, true */
static int l_task_call(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct tasks *t = vm->all->tasks;
    double given = luaL_checknumber(L, 2), ms = given < 1 ? 1 : given;
    bool wait = lua_toboolean(L, 3) != 0;
    struct msg_task_call sent = {clock_ms()};
    struct wire_head h = {.boot = vm->env.boot,
                          .counter = ++t->counter,
                          .life_ms = life_of(ms, wait),
                          .type = MSG_TASK_CALL,
                          .epoch = (uint16_t)vm->env.epoch,
                          .slot = (uint8_t)vm->env.slot};
    const char *why;
    int rc;

    buf_truncate(&vm->scratch, 0);
    buf_append(&vm->scratch, &sent, sizeof(sent));
    if (lua_msgpack_encode(L, 1, &vm->scratch, &why) < 0)
        return co_raise(L, "task: %s", why);
    h.len = (uint32_t)vm->scratch.len;
    rc = h.len - sizeof(sent) > TASK_BODY_MAX ? SD_ETOOLARGE : 0;
    if (rc == 0 && wait) {
        struct ticket next = co_park(L, (uint64_t)ms);

        h.ticket.vm = vm->env.generation;
        h.ticket.index = next.index;
        h.ticket.generation = next.wait;
    }
    if (rc == 0)
        rc = send_call(t, vm, &h, buf_slice(&vm->scratch));
    if (rc == 0 && wait)
        return co_yield(L);
    if (rc < 0 && h.ticket.generation != 0)
        co_unpark(L);
    if (rc < 0)
        return push_unsent(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.task_cancel(): calls of ours that nobody waits for any more */
static void cancel_dead(struct tasks *t)
{
    struct mesh *m = t->all->env.mesh;
    struct list *it;

    list_each (it, &t->calls) {
        struct call *call = list_entry(it, struct call, link);
        struct msg_task_cancel cancel = {call->counter};
        struct wire_head h = {.boot = t->all->env.boot,
                              .counter = ++t->counter,
                              .life_ms = UINT32_MAX,
                              .type = MSG_TASK_CANCEL,
                              .len = sizeof(cancel)};
        char head[WIRE_HEAD];
        struct slice v[2] = {{head, sizeof(head)},
                             {(const char *)&cancel, sizeof(cancel)}};

        if (call->ticket.wait == 0 || co_is_waiting(call->vm, call->ticket))
            continue;
        wire_encode(head, &h);
        if (mesh_send(m, call->slot, MSG_TASK_CANCEL, MESH_PLAIN, v, 2) == 0)
            call->ticket.wait = 0;
    }
}

static int l_task_cancel(lua_State *L)
{
    cancel_dead(vm_of(L)->all->tasks);
    return 0;
}

int task_take_reply(lua_State *L, void *answer)
{
    const struct task_reply *r = answer;
    const char *why;
    int i, top;

    if (r->value.len == 0 && r->is_unsent)
        return push_unsent(L, r->err);
    if (r->value.len == 0) {
        lua_pushnil(L);
        lua_pushstring(L, err_word(r->err));
        return 2;
    }
    top = lua_gettop(L);
    if (decode_msgpack(L, r->value, &why) < 0 || !lua_istable(L, -1))
        return luaL_error(L, "answer of a task is unreadable");
    for (i = 1; i <= 3; i++) {
        lua_rawgeti(L, top + 1, i);
        if (lua_islightuserdata(L, -1)) {
            lua_pop(L, 1);
            lua_pushnil(L);
        }
    }
    return 3;
}

static void end_call(struct call *call, struct task_reply *r)
{
    struct co *co = NULL;

    if (call->ticket.wait != 0)
        co = co_wake(call->vm, call->ticket);
    list_del(&call->link);
    mem_free(call);
    if (co != NULL)
        co_answer(co, task_take_reply, r);
}

void tasks_on_reply(struct tasks *t, const struct mesh_msg *m)
{
    struct task_reply r = {{NULL, 0}, SD_ECRASHED, false};
    struct slice body = {NULL, 0};
    struct wire_head h;
    struct call *call;

    if (wire_decode(&h, m->body) < 0)
        return;
    call = find_call(t, h.counter);
    if (call == NULL || call->slot != m->from || call->epoch != m->epoch)
        return;
    if (m->err == 0 && wire_read(&h, &body, m->body) < 0)
        log_error("answer of task slot %u is malformed", m->from);
    else if (m->err == 0 && (h.flags & WIRE_ERROR) == 0)
        r.value = body;
    else if (m->err == 0 && slice_is(body, "too_large"))
        r.err = SD_ETOOLARGE;
    else if (m->err == 0 && slice_is(body, "timeout"))
        r.err = SD_ETIMEOUT;
    end_call(call, &r);
}

struct ahead {
    struct tasks *tasks;
    struct mesh_msg reply; /* borrowed from the ring */
};

/* Is `m` whole, and the answer of a call of ours? */
static int is_answer(void *arg, const struct mesh_msg *m)
{
    struct ahead *a = arg;
    const struct call *call;
    struct wire_head h;
    struct slice body;

    bool is_reply = m->type == MSG_UID_REPLY || m->type == MSG_TASK_REPLY;

    if (!is_reply || m->err != 0 || wire_read(&h, &body, m->body) < 0)
        return 0;
    call = find_call(a->tasks, h.counter);
    if (call == NULL || call->slot != m->from || call->epoch != m->epoch)
        return 0;
    a->reply = *m;
    return 1;
}

/* The call ends, and the list has changed when this returns true. */
static bool take_ahead(struct tasks *t)
{
    struct ahead a = {.tasks = t};
    struct list *it;

    list_each (it, &t->calls) {
        const struct call *call = list_entry(it, struct call, link);

        if (mesh_walk(t->all->env.mesh, call->slot, is_answer, &a)) {
            tasks_on_reply(t, &a.reply);
            return true;
        }
    }
    return false;
}

void tasks_look_ahead(struct tasks *t)
{
    while (take_ahead(t))
        continue;
}

/* Nobody at the other end has read this call for a uid. */
static void uid_call_is_back(struct tasks *t, const struct mesh_msg *m)
{
    struct task_reply r = {{NULL, 0}, SD_EGONE, false};
    struct wire_head h;
    struct call *call = NULL;

    if (wire_decode(&h, m->body) == 0)
        call = find_call(t, h.counter);
    if (call != NULL)
        end_call(call, &r);
}

/* A dead task had not popped this: it did not run. */
void tasks_on_back(struct tasks *t, const struct mesh_msg *m)
{
    struct task_reply r = {{NULL, 0}, SD_EUNAVAILABLE, true};
    struct wire_head h;
    struct slice body;
    struct call *call;

    if (m->type == MSG_UID_CALL)
        uid_call_is_back(t, m);
    if (m->type != MSG_TASK_CALL || wire_decode(&h, m->body) < 0)
        return;
    call = find_call(t, h.counter);
    if (call == NULL)
        return;
    if (h.ticket.generation != 0 && call->ticket.wait == 0) {
        end_call(call, &r); /* who waited does not any more */
        return;
    }
    if (m->err == 0 && wire_read(&h, &body, m->body) > 0 &&
        send_call(t, call->vm, &h, body) == 0) {
        list_del(&call->link);
        mem_free(call);
        return;
    }
    if (call->ticket.wait == 0)
        log_warn("a task call was lost with its process, slot %u", m->from);
    end_call(call, &r);
}

void tasks_on_gone(struct tasks *t, unsigned slot, uint16_t epoch)
{
    struct list *it, *next;

    t->is_orphan |= t->running && t->from == slot && t->epoch == epoch;
    list_each_safe (it, next, &t->calls) {
        struct call *call = list_entry(it, struct call, link);
        struct task_reply r = {{NULL, 0}, SD_ECRASHED, false};

        if (call->slot == slot && call->epoch == epoch)
            end_call(call, &r);
    }
}

void tasks_forget(struct tasks *t, const struct vm *vm)
{
    struct list *it;

    list_each (it, &t->calls) {
        struct call *call = list_entry(it, struct call, link);

        if (call->vm != vm)
            continue;
        call->vm = NULL;
        call->ticket.wait = 0;
    }
}

static const luaL_Reg functions[] = {
    {"task_call", l_task_call},
    {"task_cancel", l_task_cancel},
    {NULL, NULL},
};

void bind_task(lua_State *L)
{
    luaL_register(L, NULL, functions);
    bind_task_run(L);
}
