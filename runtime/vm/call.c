/* call.c - where C enters Lua for conns: open, packet, answer, close.
 *
 * A conn's calls are of one vm at a time: after a switch one that still has
 * calls in the old vm is held until the last of them has ended.  Asks may be
 * open in both; an answer is offered to each.
 *
 * Each entry takes a pooled coroutine and starts one function of lua/sd with
 * numbers only; the function fetches packet or request itself, protected.
 *
 * A conn's mark counts its calls that run or wait here; on_close's work
 * begins when the last of them has ended, and only then may the conn go. */

#include "base/log.h"
#include "base/mem.h"
#include "ipc/running.h"
#include "net/conn.h"
#include "net/net.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/watchdog.h"

#define MARK_CLOSED (1u << 31) /* on_close() came while calls were running */
#define MARK_CALLS  (VM_MARK_STATE - 1)

static void start_close(struct vm *vm, struct conn *c);

struct co *vm_enter(struct vm *vm, int ref, enum co_kind kind, uint64_t timeout)
{
    uint64_t deadline = timeout > 0 ? loop_now(vm->env.loop) + timeout : 0;
    struct co *co = co_take(vm, kind, deadline);

    if (co == NULL) {
        log_error("out of memory: a call was refused");
        return NULL;
    }
    lua_rawgeti(co->L, LUA_REGISTRYINDEX, ref);
    return co;
}

/* A coroutine for a conn, with handle and port pushed. */
static struct co *enter_conn(struct vm *vm, int ref, struct conn *c,
                             uint64_t timeout)
{
    struct co *co = vm_enter(vm, ref, CO_CALL, timeout);

    if (co == NULL)
        return NULL;
    co->conn = (uint64_t)vm_handle(c);
    co->arg = c;
    co->what = RUNNING_HOOK;
    co->port = (uint16_t)conn_port(c);
    conn_set_mark(c, conn_mark(c) + 1);
    lua_pushnumber(co->L, vm_handle(c));
    lua_pushinteger(co->L, (lua_Integer)conn_port(c) + 1);
    return co;
}

void vm_log_end(struct co *co, int status)
{
    if (status != 0)
        log_error("%s", co_error_text(co->L));
}

/* A call of the conn has ended: was it the last one a close waits for? */
static void leave_conn(struct vm *vm, struct conn *c)
{
    uint32_t mark = conn_mark(c) - 1;

    conn_set_mark(c, mark);
    if ((mark & MARK_CALLS) != 0)
        return;
    if (!list_empty(&vm->all->retired))
        conn_hold(c, false);
    if ((mark & MARK_CLOSED) != 0)
        start_close(vms_now(vm->all), c);
}

void vm_hold_conns(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->cos.n; i++) {
        const struct co *co = vm->cos.at[i];

        if (co->state != CO_IDLE && co->conn != 0 && co->arg != NULL)
            conn_hold(co->arg, true);
    }
}

static void open_ended(struct co *co, int status)
{
    struct conn *c = co->arg;

    vm_log_end(co, status);
    if (status != 0)
        conn_close(c, "error", 0);
    conn_opened(c);
    leave_conn(co->vm, c);
}

static void on_open(void *arg, struct conn *c)
{
    struct vm *vm = vms_now(arg);
    struct co *co;

    if (!vm->has_open_hook) {
        conn_opened(c);
        return;
    }
    co = enter_conn(vm, vm->entry[ENTRY_OPEN], c, conn_conf(c)->timeout);
    if (co == NULL) {
        conn_close(c, "error", 0);
        return;
    }
    co->on_end = open_ended;
    co->name = "on_connect";
    co_start(co, 2);
}

static void packet_ended(struct co *co, int status)
{
    struct conn *c = co->arg;

    vm_log_end(co, status);
    if (status != 0)
        conn_close(c, "error", 0); /* nobody could answer (out of memory) */
    conn_done(c);
    leave_conn(co->vm, c);
}

static void on_packet(void *arg, struct conn *c, struct slice packet)
{
    struct vm *vm = vms_now(arg);
    int ref = vm->ports[conn_port(c)].serve[conn_protocol(c) == CONN_WS];
    struct co *co = enter_conn(vm, ref, c, conn_conf(c)->timeout);

    if (co == NULL) {
        conn_close(c, "error", 0);
        conn_done(c);
        return;
    }
    co->on_end = packet_ended;
    co->what = RUNNING_PACKET;
    vm->packet = packet;
    vm->packet_conn = c;
    co_start(co, 2);
    vm->packet_conn = NULL;
}

/* ENTRY_ANSWER, ENTRY_GONE and ENTRY_BYE may not wait: they are done when
 * co_start() returns. */
static void answer_ended(struct co *co, int status)
{
    vm_log_end(co, status);
    co->vm->was_answer = status == 0 && lua_toboolean(co->L, -1);
    leave_conn(co->vm, co->arg);
}

static bool offer_answer(struct vm *vm, struct conn *c, struct slice packet)
{
    struct co *co = enter_conn(vm, vm->entry[ENTRY_ANSWER], c, 0);

    if (co == NULL)
        return false;
    co->on_end = answer_ended;
    co->name = "answer";
    co->may_not_wait = true;
    vm->packet = packet;
    vm->packet_conn = c;
    vm->was_answer = false;
    co_start(co, 2);
    vm->packet_conn = NULL;
    return vm->was_answer;
}

/* To the oldest vm first: it may be waiting for long. */
static bool on_answer(void *arg, struct conn *c, struct slice packet)
{
    struct vms *all = arg;
    struct list *it, *next;

    list_each_safe (it, next, &all->retired) {
        struct vm *vm = list_entry(it, struct vm, link);

        if (asks_of(c, vm) && offer_answer(vm, c, packet))
            return true;
    }
    return asks_of(c, all->current) && offer_answer(all->current, c, packet);
}

/* Not while Lua runs. */
static void on_bye(void *arg, struct conn *c, const char *reason)
{
    struct vm *vm = vms_now(arg);
    struct co *co;

    if (!vm->has_bye)
        return;
    co = enter_conn(vm, vm->entry[ENTRY_BYE], c, 0);
    if (co == NULL)
        return;
    co->on_end = answer_ended;
    co->name = "bye";
    vm->bye_reason = reason;
    co_start(co, 2);
    vm->bye_reason = NULL;
}

void vm_shut(struct vm *vm, struct conn *c, const char *reason, int code)
{
    struct member *m = people_find(c);

    if (m != NULL) {
        m->is_leaving = true;
        people_leave(vm->all->people, m, reason);
    }
    conn_close(c, reason, code);
}

void vms_close_conn(struct vms *a, struct conn *c, const char *reason)
{
    if (conn_protocol(c) != CONN_HTTP)
        on_bye(a, c, reason);
    vm_shut(vms_now(a), c, reason, 0);
}

const char *vm_close_reason(const struct conn *c)
{
    const struct member *m = people_find(c);

    return m != NULL ? m->reason : NULL;
}

static void release(struct vm *vm, struct conn *c)
{
    people_remove(vm->all->people, people_find(c), c);
    conn_released(c);
}

static void close_ended(struct co *co, int status)
{
    vm_log_end(co, status);
    release(co->vm, co->arg);
}

static void start_close(struct vm *vm, struct conn *c)
{
    struct co *co = NULL;

    if (vm->has_close_hook || (conn_mark(c) & VM_MARK_STATE) != 0)
        co = enter_conn(vm, vm->entry[ENTRY_CLOSE], c,
                        vm->env.conf->server.call_timeout);
    if (co == NULL) {
        release(vm, c);
        return;
    }
    co->on_end = close_ended;
    co->name = "on_close";
    co_start(co, 2);
}

/* Calls that wait for an answer learn at once that none will come; on_close
 * waits for them. */
static void end_asks(struct vm *vm, struct conn *c)
{
    struct co *co = enter_conn(vm, vm->entry[ENTRY_GONE], c, 0);

    if (co == NULL)
        return;
    co->on_end = answer_ended;
    co_start(co, 2);
}

static void end_all_asks(struct vms *all, struct conn *c)
{
    struct list *it, *next;

    list_each_safe (it, next, &all->retired)
        end_asks(list_entry(it, struct vm, link), c);
    end_asks(vms_now(all), c);
}

static void on_close(void *arg, struct conn *c, const char *reason)
{
    struct vm *vm = vms_now(arg);
    struct member *m = people_add(vm->all->people, c);

    vm_unsend(vm);
    people_leave(vm->all->people, m, reason);
    m->reason = mem_dup(reason, strlen(reason));
    if ((conn_mark(c) & MARK_CALLS) == 0 && list_empty(&vm->all->retired)) {
        start_close(vm, c);
        return;
    }
    conn_set_mark(c, (conn_mark(c) | MARK_CLOSED) + 1); /* not before this */
    if (conn_asks(c) > 0)
        end_all_asks(vm->all, c);
    leave_conn(vm, c);
}

/* The client will not hear of the world any more, only what it is owed. */
static void on_eof(void *arg, struct conn *c)
{
    struct vms *all = arg;
    struct member *m = people_find(c);

    if (m != NULL && conn_protocol(c) != CONN_HTTP)
        people_leave(all->people, m, "client");
}

/* length(head) of a script's pack: the size, 0 for nil, -1 for false. */
static int length_call(lua_State *L)
{
    struct vm *vm = vm_of(L);
    double n;

    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->length_ref);
    lua_pushlstring(L, vm->packet.p, vm->packet.len);
    lua_call(L, 1, 1);
    n = lua_isnil(L, -1) ? 0 : lua_isnumber(L, -1) ? lua_tonumber(L, -1) : -1;
    vm->length = n > 0 && n < 1e15            ? (int64_t)n
                 : n == 0 && lua_isnil(L, -1) ? 0
                                              : -1;
    return 0;
}

static int64_t on_length(void *arg, const struct conn *c, struct slice head)
{
    struct vm *vm = vms_now(arg);
    int rc;

    vm->length_ref = vm_pack_of(vm, c)->length;
    vm->packet = head;
    vm->length = -1;
    watchdog_enter(vm->L, vm->max_run);
    rc = lua_cpcall(vm->L, length_call, NULL);
    watchdog_leave();
    if (rc != 0) {
        log_error("pack length: %s", co_error_text(vm->L));
        lua_pop(vm->L, 1);
    }
    return vm->length;
}

static void on_drop(void *arg, struct conn *c, struct slice value,
                    const char *reason)
{
    struct vms *all = arg;

    (void)reason;
    reach_dropped(all->reach, conn_uid(c), value);
}

static void on_wake(void *arg)
{
    struct vms *all = arg;

    if (all->is_awaiting)
        vms_look_for_commit(all);
}

const struct conn_ops vms_conn_ops = {
    .on_wake = on_wake,
    .on_open = on_open,
    .on_packet = on_packet,
    .on_answer = on_answer,
    .on_handshake = vms_on_handshake,
    .on_request = vms_on_request,
    .on_bye = on_bye,
    .on_eof = on_eof,
    .on_close = on_close,
    .on_drop = on_drop,
    .on_length = on_length,
};
