/* bind_abroad_calls.c - calls to other nodes, for lua/sd/abroad.lua. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cluster/uplink.h"
#include "ipc/msg.h"
#include "vm/far_call.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"
#include "vm/task_state.h"

static int fail(lua_State *L, int err)
{
    lua_pushnil(L);
    lua_pushstring(L, err_word(err));
    return 2;
}

/* The message of a call, by its verb; a value for it is in vm->scratch. */
union far_head {
    struct msg_uid_send send;
    struct msg_uid_change change;
    struct msg_far_call call;
};

static struct slice head_of(union far_head *h, struct abroad_letter *l,
                            uint32_t verb, uint64_t ms)
{
    memset(h, 0, sizeof(*h));
    switch (verb) {
    case MSG_UID_DELIVER:
        l->type = MSG_UID_SEND;
        l->to.is_beside = true;
        h->send.done_there = ABROAD_GONE;
        return slice_make((const char *)&h->send, sizeof(h->send));
    case MSG_UID_SUBSCRIBE:
    case MSG_UID_UNSUBSCRIBE:
    case MSG_UID_KICK:
        l->type = MSG_UID_CHANGE;
        h->change.verb = verb;
        return slice_make((const char *)&h->change, sizeof(h->change));
    default:
        l->type = MSG_FAR_CALL;
        h->call.verb = verb;
        h->call.ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
        return slice_make((const char *)&h->call, sizeof(h->call));
    }
}

struct lowest {
    uint64_t boot;
    struct place *place;
    bool is_found;
};

static void on_place(void *arg, const struct place *p)
{
    struct lowest *l = arg;

    if (p->boot != l->boot || (l->is_found && p->slot >= l->place->slot))
        return;
    *l->place = *p;
    l->is_found = true;
}

/* The process that answers for a node. */
static bool find_place(struct abroad *a, const char *boot, struct place *out)
{
    struct lowest l = {.boot = strtoull(boot, NULL, 16), .place = out};

    outbox_each_place(uplink_outbox(a->uplink), on_place, &l);
    return l.is_found;
}

int far_call(lua_State *L, struct abroad_letter *l, uint64_t ms)
{
    struct vm *vm = vm_of(L);
    struct abroad *a = vm->all->abroad;
    struct far_call *c;
    int rc;

    co_may_park(L);
    c = far_call_add(vm, ms);
    c->wants_value = l->type == MSG_FAR_CALL;
    c->has_place = l->to.type == FRAMES_PLACE;
    c->place = l->to.place;
    c->ticket = co_park(L, ms);
    l->life = ms;
    l->counter = c->counter;
    l->token = c->counter << 1 | ABROAD_CALL;
    rc = abroad_send(a, l);
    if (rc == 0)
        return co_yield(L);
    far_call_drop(a, c);
    co_unpark(L);
    return fail(L, rc);
}

/* far_call(verb, to, value, ms), `to` in the letter */
static int call(lua_State *L, struct abroad_letter *l, uint32_t verb)
{
    struct vm *vm = vm_of(L);
    double given = luaL_checknumber(L, 4);
    uint64_t ms = given < 1 ? 1 : given < 4e9 ? (uint64_t)given : 4000000000u;
    union far_head h;
    struct slice v[2] = {head_of(&h, l, verb, ms), {NULL, 0}};
    const char *why;
    int rc;

    buf_truncate(&vm->scratch, 0);
    if (l->type == MSG_UID_CHANGE) {
        v[1].p = luaL_checklstring(L, 3, &v[1].len);
    } else {
        if (lua_msgpack_encode(L, 3, &vm->scratch, &why) < 0)
            return co_raise(L, "cannot send: %s", why);
        v[1] = buf_slice(&vm->scratch);
    }
    if (v[1].len > TASK_BODY_MAX)
        return fail(L, SD_ETOOLARGE);
    l->body = v;
    l->n = 2;
    rc = far_call(L, l, ms);
    l->body = NULL; /* v is ours */
    return rc;
}

/* core.far_call(verb, uid, value, ms) -> settle() makes results: of the conns
 * that the uid has on other nodes, or of the newest of all */
static int l_far_call(lua_State *L)
{
    struct abroad *a = vm_of(L)->all->abroad;
    uint32_t verb = (uint32_t)luaL_checkoption(L, 1, NULL, uidcall_verbs);
    struct abroad_letter l = {
        .to = {.type = FRAMES_UID, .is_newest = verb == MSG_UID_ASK}};

    l.to.name.p = luaL_checklstring(L, 2, &l.to.name.len);
    if (a == NULL || a->uplink == NULL)
        return fail(L, SD_EUNAVAILABLE);
    return call(L, &l, verb);
}

/* core.node_call(verb, boot, value, ms) -> the same, of a node */
static int l_node_call(lua_State *L)
{
    struct abroad *a = vm_of(L)->all->abroad;
    uint32_t verb = (uint32_t)luaL_checkoption(L, 1, NULL, uidcall_verbs);
    struct abroad_letter l = {.to = {.type = FRAMES_PLACE}};

    if (a == NULL || a->uplink == NULL)
        return fail(L, SD_EUNAVAILABLE);
    if (!find_place(a, luaL_checkstring(L, 2), &l.to.place))
        return fail(L, SD_EGONE);
    return call(L, &l, verb);
}

/* core.other_nodes() -> a list of boot and name in turn; "": not known */
static int l_other_nodes(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const struct roster_list *list;
    const char *name;
    char boot[17];
    int n = 0;

    lua_newtable(L);
    if (vm->all->abroad == NULL)
        return 1;
    list = abroad_roster(vm->all->abroad);
    name = list->names;
    for (unsigned i = 0; i < list->nnodes; i++) {
        if (list->nodes[i] != vm->env.boot) {
            snprintf(boot, sizeof(boot), "%016llx",
                     (unsigned long long)list->nodes[i]);
            lua_pushstring(L, boot);
            lua_rawseti(L, -2, ++n);
            lua_pushstring(L, name);
            lua_rawseti(L, -2, ++n);
        }
        name = roster_next_name(list, name);
    }
    return 1;
}

/* core.abroad_worker(name) -> the slot that sends for us; nil: none */
static int l_abroad_worker(lua_State *L)
{
    struct abroad *a = vm_of(L)->all->abroad;
    struct slice name;
    int slot;

    name.p = luaL_checklstring(L, 1, &name.len);
    slot = a != NULL ? abroad_worker(a, name) : -1;
    if (slot < 0)
        return 0;
    lua_pushinteger(L, slot);
    return 1;
}

static const luaL_Reg functions[] = {
    {"far_call", l_far_call},
    {"node_call", l_node_call},
    {"other_nodes", l_other_nodes},
    {"abroad_worker", l_abroad_worker},
    {NULL, NULL},
};

void bind_abroad_calls(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
