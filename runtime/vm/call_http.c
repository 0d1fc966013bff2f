/* call_http.c - where C enters Lua for requests and handshakes.
 *
 * A request ends exactly once, whatever its script did: with the answer that
 * was made, or, when the coroutine has ended without one, with an error. */
#include <lua.h>
#include <string.h>

#include "base/mem.h"
#include "ipc/running.h"
#include "net/conn.h"
#include "net/http.h"
#include "net/net.h"
#include "vm/people.h"
#include "vm/state.h"

/* Scripts know a request by index | serial << 20, as long as it has not
 * ended. */
static uint32_t add_request(struct vm *vm, struct http_request *r)
{
    uint32_t i;

    for (i = vm->free_request; i < vm->nrequests; i++) {
        if (vm->requests[i].r == NULL)
            break;
    }
    if (i == vm->nrequests) {
        vm->nrequests = i > 0 ? i * 2 : 16;
        vm->requests =
            mem_realloc(vm->requests, vm->nrequests * sizeof(*vm->requests));
        memset(vm->requests + i, 0,
               (vm->nrequests - i) * sizeof(*vm->requests));
    }
    vm->free_request = i + 1;
    vm->requests[i].r = r;
    return i;
}

struct vm_request *vm_request(struct vm *vm, double number)
{
    uint64_t n = (uint64_t)number;
    uint32_t i = (uint32_t)(n & (REQUESTS_MAX - 1));
    struct vm_request *q = i < vm->nrequests ? &vm->requests[i] : NULL;

    if (q == NULL || q->r == NULL || q->serial != n >> REQUEST_BITS)
        return NULL;
    return q;
}

void vm_request_opened(struct vm *vm, struct vm_request *q)
{
    struct member *m = q->member;

    q->member = NULL;
    if (m != NULL && !uids_is_bound(&m->binding) && m->topics.count == 0)
        people_remove(vm->all->people, m, m->conn);
}

/* A handshake was refused, or its client has gone: what was bound goes. */
static void undo_handshake(struct vm *vm, struct vm_request *q)
{
    struct conn *c = net_find(vm->env.net, q->member->id);

    people_remove(vm->all->people, q->member, c);
    q->member = NULL;
    if (c == NULL)
        return;
    conn_set_uid(c, slice_make(NULL, 0));
    conn_set_session(c, slice_make(NULL, 0));
}

void vm_request_ended(struct vm *vm, struct vm_request *q)
{
    uint32_t i = (uint32_t)(q - vm->requests);

    if (q->member != NULL)
        undo_handshake(vm, q);
    q->r = NULL;
    q->serial++;
    q->streaming = false;
    if (i < vm->free_request)
        vm->free_request = i;
}

/* A script that takes all memory may leave none to say so in Lua. */
static struct slice excuse(const struct vm *vm, int status)
{
    if (status == LUA_ERRMEM && vm->env.conf->server.dev)
        return slice_str("not enough memory");
    return slice_str("internal error");
}

/* Whatever the script did: a request always ends. */
static void request_ended(struct co *co, int status)
{
    struct vm *vm = co->vm;
    struct vm_request *q = vm_request(vm, co->number);

    vm_log_end(co, status);
    if (q == NULL)
        return;
    if (q->streaming && status == 0)
        http_stream_end(q->r);
    else if (q->streaming)
        http_stream_abort(q->r);
    else
        http_fail(q->r, 500, excuse(vm, status));
    vm_request_ended(vm, q);
}

/* NULL: out of memory, and the request has been answered. */
static struct co *enter_request(struct vm *vm, int ref, struct conn *c,
                                struct http_request *r)
{
    struct co *co = vm_enter(vm, ref, CO_CALL, conn_conf(c)->timeout);
    uint32_t i;

    if (co == NULL) {
        http_fail(r, 503, slice_str("out of memory"));
        return NULL;
    }
    i = add_request(vm, r);
    co->number = (double)((uint64_t)vm->requests[i].serial << REQUEST_BITS | i);
    co->on_end = request_ended;
    co->what = RUNNING_REQUEST;
    co->port = (uint16_t)conn_port(c);
    lua_pushnumber(co->L, co->number);
    lua_pushnumber(co->L, vm_handle(c));
    return co;
}

void vms_on_handshake(void *arg, struct conn *c, struct http_request *r)
{
    struct vm *vm = vms_now(arg);
    struct co *co;

    if (!vm->has_handshake_hook) {
        conn_ws_accept(r, slice_make("", 0));
        return;
    }
    co = enter_request(vm, vm->ports[conn_port(c)].handshake, c, r);
    if (co == NULL)
        return;
    co->what = RUNNING_HOOK;
    co->name = "on_handshake";
    co->conn = (uint64_t)vm_handle(c); /* found while it is open */
    vm_request(vm, co->number)->member = people_add(vm->all->people, c);
    co_start(co, 2);
}

void vms_on_request(void *arg, struct conn *c, struct http_request *r)
{
    struct vm *vm = vms_now(arg);
    struct co *co = enter_request(vm, vm->ports[conn_port(c)].request, c, r);

    if (co != NULL)
        co_start(co, 2);
}
