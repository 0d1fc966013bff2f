/* uidcall.c - see uidcall.h. */
#include "vm/uidcall.h"

#include <lauxlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "net/conn.h"
#include "vm/lua_msgpack.h"
#include "vm/people.h"
#include "vm/state.h"
#include "vm/task_state.h"

/* A call of somebody else's. */
struct uidcall {
    struct list link;
    double number; /* what Lua knows it by */
    unsigned from;
    uint16_t epoch; /* of the caller */
    struct wire_head head;
    struct msg_uid_call call;
    struct buf body; /* uid, value */
};

void uidcalls_init(struct uidcalls *u)
{
    list_init(&u->open);
}

static void drop(struct uidcall *c)
{
    list_del(&c->link);
    buf_fini(&c->body);
    mem_free(c);
}

void uidcalls_fini(struct uidcalls *u)
{
    while (!list_empty(&u->open))
        drop(list_entry(u->open.next, struct uidcall, link));
}

static const char *const verbs[] = {
    [MSG_UID_DELIVER] = "deliver",
    [MSG_UID_ASK] = "ask",
    [MSG_UID_SUBSCRIBE] = "subscribe",
    [MSG_UID_UNSUBSCRIBE] = "unsubscribe",
    [MSG_UID_TOPIC_COUNT] = "topic_count",
    [MSG_UID_VERBS] = NULL,
};

void uidcalls_on_gone(struct uidcalls *u, unsigned slot, uint16_t epoch)
{
    struct list *it, *next;

    list_each_safe (it, next, &u->open) {
        struct uidcall *c = list_entry(it, struct uidcall, link);

        if (c->from == slot && c->epoch == epoch)
            drop(c);
    }
}

/* --- the caller ----------------------------------------------------------- */

struct newest {
    unsigned slots[SLOTS_MAX];
    uint64_t number[SLOTS_MAX];
    unsigned n;
};

static bool on_binding(void *arg, const struct uidmap_binding *b)
{
    struct newest *s = arg;
    unsigned i = 0;

    while (i < s->n && s->slots[i] != b->slot)
        i++;
    if (i == SLOTS_MAX)
        return false;
    if (i == s->n) {
        s->slots[s->n++] = b->slot;
        s->number[i] = 0;
    }
    s->number[i] = b->number > s->number[i] ? b->number : s->number[i];
    return true;
}

/* core.uid_slots(list, uid) -> the slots that have it, that of the newest conn
 * first */
static int l_uid_slots(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct newest s;
    struct slice uid;
    unsigned newest = 0;

    s.n = 0;
    uid.p = luaL_checklstring(L, 2, &uid.len);
    lua_settop(L, 1);
    if (vm->env.uids != NULL)
        uidmap_find(vm->env.uids, uid, on_binding, &s);
    for (unsigned i = 1; i < s.n; i++)
        newest = s.number[i] > s.number[newest] ? i : newest;
    for (unsigned i = 0; i < s.n; i++) {
        lua_pushinteger(L, (lua_Integer)s.slots[(newest + i) % s.n]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* core.worker_slots(list) -> the slots whose workers have conns */
static int l_worker_slots(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    const struct slots *slots;
    int n = 0;

    lua_settop(L, 1);
    if (vm->env.mesh == NULL)
        return 1;
    slots = mesh_slots(vm->env.mesh);
    for (unsigned i = 0; i < slots_count(slots); i++) {
        enum slot_state state = slots_state(slots, i);

        if (slots_role(slots, i) != SLOT_WORKER ||
            (i != vm->env.slot && state != SLOT_READY &&
             state != SLOT_DRAINING))
            continue;
        lua_pushinteger(L, (lua_Integer)i);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int fail(lua_State *L, int err)
{
    lua_pushnil(L);
    lua_pushstring(L, err_word(err));
    return 2;
}

/* core.uid_call(slot, verb, uid, value, ms) -> settle() makes results */
static int l_uid_call(lua_State *L)
{
    struct vm *vm = vm_of(L);
    unsigned slot = (unsigned)luaL_checkinteger(L, 1);
    double given = luaL_checknumber(L, 5);
    uint64_t ms = given < 1 ? 1 : given < 4e9 ? (uint64_t)given : 4000000000u;
    struct msg_uid_call call = {
        .verb = (uint32_t)luaL_checkoption(L, 2, NULL, verbs)};
    struct wire_head h = {.boot = vm->env.boot,
                          .counter = ++vm->all->tasks->counter,
                          .life_ms = (uint32_t)ms,
                          .type = MSG_UID_CALL,
                          .epoch = (uint16_t)vm->env.epoch,
                          .slot = (uint8_t)vm->env.slot};
    struct ticket next;
    struct slice uid;
    const char *why;
    int rc;

    uid.p = luaL_checklstring(L, 3, &uid.len);
    call.uid_len = (uint32_t)uid.len;
    buf_truncate(&vm->scratch, 0);
    buf_append(&vm->scratch, &call, sizeof(call));
    buf_append(&vm->scratch, uid.p, uid.len);
    if (lua_msgpack_encode(L, 4, &vm->scratch, &why) < 0)
        return co_raise(L, "cannot send: %s", why);
    if (vm->scratch.len > TASK_BODY_MAX)
        return fail(L, SD_ETOOLARGE);
    h.len = (uint32_t)vm->scratch.len;
    next = co_park(L, ms);
    h.ticket.vm = vm->env.generation;
    h.ticket.index = next.index;
    h.ticket.generation = next.wait;
    rc = tasks_send(vm->all->tasks, vm, slot, &h, buf_slice(&vm->scratch));
    if (rc == 0)
        return co_yield(L);
    co_unpark(L);
    return fail(L, rc);
}

/* --- who is called -------------------------------------------------------- */

static int send_answer(struct vm *vm, const struct uidcall *c, uint16_t flags,
                       struct slice body)
{
    struct wire_head h = c->head;
    char head[WIRE_HEAD];
    struct slice v[2] = {{head, sizeof(head)}, body};

    h.type = MSG_UID_REPLY;
    h.flags = (uint16_t)(WIRE_ANSWER | flags);
    h.len = (uint32_t)body.len;
    h.epoch = (uint16_t)vm->env.epoch;
    h.slot = (uint8_t)vm->env.slot;
    wire_encode(head, &h);
    return mesh_send(vm->env.mesh, c->from, MSG_UID_REPLY, MESH_ANSWER, v, 2);
}

/* A value that has no room now is given up; its word always has. */
static void answer(struct vm *vm, struct uidcall *c, struct slice value)
{
    int rc = value.len > 0 ? send_answer(vm, c, 0, value) : SD_ECRASHED;

    if (rc < 0 && rc != SD_EGONE)
        rc = send_answer(
            vm, c, WIRE_ERROR,
            slice_str(rc == SD_ETOOLARGE ? "too_large" : "crashed"));
    if (rc < 0 && rc != SD_EGONE)
        log_error("an answer is lost (%s)", err_str(rc));
    drop(c);
}

static struct uidcall *find_call(struct vm *vm, double number)
{
    struct list *it;

    list_each (it, &vm->all->uidcalls.open) {
        struct uidcall *c = list_entry(it, struct uidcall, link);

        if (c->number == number)
            return c;
    }
    return NULL;
}

static void call_ended(struct co *co, int status)
{
    struct uidcall *c = find_call(co->vm, co->number);

    vm_log_end(co, status);
    if (c != NULL)
        answer(co->vm, c, slice_make(NULL, 0));
}

static bool read_call(struct uidcall *c, const struct mesh_msg *m)
{
    struct slice body;

    if (m->err != 0 || wire_read(&c->head, &body, m->body) < 0 ||
        body.len < sizeof(c->call))
        return false;
    memcpy(&c->call, body.p, sizeof(c->call));
    body = slice_skip(body, sizeof(c->call));
    buf_append(&c->body, body.p, body.len);
    return c->call.uid_len <= body.len && c->call.verb < MSG_UID_VERBS;
}

void uidcalls_take(struct vm *vm, const struct mesh_msg *m)
{
    struct uidcall *c = mem_zalloc(sizeof(*c));
    struct co *co = NULL;

    c->from = m->from;
    c->epoch = m->epoch;
    list_add(&vm->all->uidcalls.open, &c->link);
    if (m->dead || wire_decode(&c->head, m->body) < 0) {
        drop(c);
        return;
    }
    if (read_call(c, m))
        co =
            vm_enter(vm, vm->entry[ENTRY_UID_CALLED], CO_CALL, c->head.life_ms);
    if (co == NULL) {
        answer(vm, c, slice_make(NULL, 0));
        return;
    }
    c->number = (double)++vm->all->tasks->counter;
    co->number = c->number;
    co->on_end = call_ended;
    lua_pushnumber(co->L, c->number);
    co_start(co, 1);
}

/* core.uid_called(number) -> verb, uid, value, ms */
static int l_uid_called(lua_State *L)
{
    struct uidcall *c = find_call(vm_of(L), luaL_checknumber(L, 1));
    struct slice body;
    const char *why;

    if (c == NULL)
        return luaL_error(L, "no call at hand");
    body = buf_slice(&c->body);
    lua_pushstring(L, verbs[c->call.verb]);
    lua_pushlstring(L, body.p, c->call.uid_len);
    if (lua_msgpack_decode(L, slice_skip(body, c->call.uid_len), &why) < 0)
        return luaL_error(L, "call is unreadable: %s", why);
    lua_pushnumber(L, c->head.life_ms);
    return 4;
}

/* core.uid_answer(number, {result, err, code}) */
static int l_uid_answer(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct uidcall *c = find_call(vm, luaL_checknumber(L, 1));
    const char *why;

    buf_truncate(&vm->scratch, 0);
    if (lua_msgpack_encode(L, 2, &vm->scratch, &why) < 0)
        return luaL_error(L, "answer: %s", why);
    if (c != NULL)
        answer(vm, c, buf_slice(&vm->scratch));
    return 0;
}

/* core.uid_newest(uid) -> handle of its newest conn here */
static int l_uid_newest(lua_State *L)
{
    const struct people *p = vm_of(L)->all->people;
    struct conn *newest = NULL;
    struct uids_binding *b;
    struct slice uid;

    uid.p = luaL_checklstring(L, 1, &uid.len);
    for (b = uids_first(p->uids, uid); b != NULL; b = uids_next(b)) {
        struct conn *c = list_entry(b, struct member, binding)->conn;

        if (conn_protocol(c) != CONN_HTTP) /* not amid its handshake */
            newest = c;
    }
    if (newest == NULL)
        return 0;
    lua_pushnumber(L, vm_handle(newest));
    return 1;
}

static const luaL_Reg functions[] = {
    {"uid_slots", l_uid_slots},
    {"uid_call", l_uid_call},
    {"uid_called", l_uid_called},
    {"uid_answer", l_uid_answer},
    {"uid_newest", l_uid_newest},
    {"worker_slots", l_worker_slots},
    {NULL, NULL},
};

void bind_uidcall(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
