/* bind_send.c - sends to many conns of this worker, for lua/sd/people.lua.
 *
 * Between deliver_begin() and deliver_end() nothing raises; values are encoded
 * before. */
#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "net/net.h"
#include "vm/deliver.h"
#include "vm/lua_msgpack.h"
#include "vm/people.h"
#include "vm/state.h"

static struct member *member_of(struct uids_binding *b)
{
    return list_entry(b, struct member, binding);
}

/* Mark the conns of the uids in the list at `idx`, or of nobody. */
static void pass_over(lua_State *L, int idx)
{
    struct people *p = vm_of(L)->people;
    struct uids_binding *b;
    struct slice uid;
    int i, n = lua_istable(L, idx) ? (int)lua_objlen(L, idx) : 0;

    p->fanouts++;
    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, idx, i);
        uid.p = luaL_checklstring(L, -1, &uid.len);
        for (b = uids_first(p->uids, uid); b != NULL; b = uids_next(b))
            member_of(b)->passed_over = p->fanouts;
        lua_pop(L, 1);
    }
}

/* The value and, behind it, what to leave out and whether it is volatile. */
static void begin(lua_State *L, struct deliver *d, int idx)
{
    struct vm *vm = vm_of(L);
    struct buf *value = deliver_value(vm);
    const char *why;

    if (value == NULL)
        co_raise(L, "encode() of a pack may not send");
    pass_over(L, idx + 1);
    if (lua_msgpack_encode(L, idx, value, &why) < 0)
        co_raise(L, "cannot send: %s", why);
    deliver_begin(d, vm, L, buf_slice(value));
    d->is_volatile = lua_toboolean(L, idx + 2) != 0;
}

/* SD_EOFFLINE for who is passed over. */
static int send_to(struct deliver *d, const struct member *m)
{
    struct people *p = d->vm->people;

    if (m->passed_over == p->fanouts)
        return SD_EOFFLINE;
    return deliver_to(d, m->conn);
}

static void on_visit(void *arg, struct topics_holder *h)
{
    (void)send_to(arg, list_entry(h, struct member, topics));
}

/* core.publish(topic, value, except, volatile) -> conns it was queued for */
static int l_publish(lua_State *L)
{
    struct slice topic;
    struct deliver d;

    topic.p = luaL_checklstring(L, 1, &topic.len);
    if (!topics_is_name(topic))
        return co_raise(L, "bad topic name");
    begin(L, &d, 2);
    topics_visit(d.vm->people->topics, topic, on_visit, &d);
    deliver_end(&d);
    lua_pushnumber(L, d.sent);
    return 1;
}

/* core.send_all(value, except, volatile) -> conns it was queued for */
static int l_send_all(lua_State *L)
{
    struct deliver d;
    struct conn *c;
    uint32_t cursor = 0;

    begin(L, &d, 1);
    while (d.vm->env.net != NULL &&
           (c = net_next(d.vm->env.net, &cursor)) != NULL) {
        struct member *m = people_find(c);

        if (m == NULL)
            (void)deliver_to(&d, c);
        else
            (void)send_to(&d, m);
    }
    deliver_end(&d);
    lua_pushnumber(L, d.sent);
    return 1;
}

/* 0 when at least one conn of the uid took it or was passed over. */
static int send_to_uid(struct deliver *d, struct slice uid)
{
    struct uids_binding *b = uids_first(d->vm->people->uids, uid);
    int rc = SD_EOFFLINE, one;

    for (; b != NULL; b = uids_next(b)) {
        const struct member *m = member_of(b);

        one = m->passed_over == d->vm->people->fanouts ? 0 : send_to(d, m);
        rc = rc == 0 ? 0 : one;
    }
    return rc;
}

/* core.send_uids(uids, value, except, volatile) -> list of true or a word */
static int l_send_uids(lua_State *L)
{
    struct deliver d;
    int i, n, results;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 4);
    n = (int)lua_objlen(L, 1);
    lua_createtable(L, n, 0); /* so that filling it cannot raise */
    results = lua_gettop(L);
    begin(L, &d, 2);
    for (i = 1; i <= n; i++) {
        struct slice uid = {"", 0};

        lua_rawgeti(L, 1, i);
        if (lua_type(L, -1) == LUA_TSTRING)
            uid.p = lua_tolstring(L, -1, &uid.len);
        lua_pushinteger(L, send_to_uid(&d, uid));
        lua_rawseti(L, results, i);
        lua_pop(L, 1);
    }
    deliver_end(&d);
    for (i = 1; i <= n; i++) {
        int rc;

        lua_rawgeti(L, results, i);
        rc = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (rc == 0)
            lua_pushboolean(L, 1);
        else
            lua_pushstring(L, err_word(rc));
        lua_rawseti(L, results, i);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"publish", l_publish},
    {"send_all", l_send_all},
    {"send_uids", l_send_uids},
    {NULL, NULL},
};

void bind_send(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
