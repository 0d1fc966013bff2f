/* uidcall.c - see uidcall.h: the caller's half, and where conns are. */
#include "vm/uidcall.h"

#include <lauxlib.h>

#include "base/err.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "net/conn.h"
#include "vm/lua_msgpack.h"
#include "vm/people.h"
#include "vm/state.h"
#include "vm/task_state.h"

const char *const uidcall_verbs[] = {
    [MSG_UID_DELIVER] = "deliver",
    [MSG_UID_ASK] = "ask",
    [MSG_UID_SUBSCRIBE] = "subscribe",
    [MSG_UID_UNSUBSCRIBE] = "unsubscribe",
    [MSG_UID_TOPIC_COUNT] = "topic_count",
    [MSG_UID_KICK] = "kick",
    [MSG_UID_ONLINE] = "online",
    [MSG_UID_PAGE] = "page",
    [MSG_UID_TOPICS] = "topics",
    [MSG_UID_ABROAD] = "abroad",
    [MSG_UID_PRESENCE] = "presence",
    [MSG_UID_VERBS] = NULL,
};

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
        .verb = (uint32_t)luaL_checkoption(L, 2, NULL, uidcall_verbs)};
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
    {"uid_newest", l_uid_newest},
    {"worker_slots", l_worker_slots},
    {NULL, NULL},
};

void bind_uidcall(lua_State *L)
{
    luaL_register(L, NULL, functions);
    bind_uidcall_serve(L);
}
