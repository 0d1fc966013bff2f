/* bind_send.c - sends to many conns, for lua/sd/people.lua.
 *
 * Between deliver_begin() and deliver_end() nothing raises; values are encoded
 * before. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/err.h"
#include "ipc/elsewhere.h"
#include "ipc/msg.h"
#include "net/net.h"
#include "vm/abroad.h"
#include "vm/deliver.h"
#include "vm/lua_msgpack.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/spread.h"
#include "vm/state.h"

static int fail(lua_State *L, int err)
{
    lua_pushnil(L);
    lua_pushstring(L, err_word(err));
    return 2;
}

static int done(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

static struct slice check_slice(lua_State *L, int idx)
{
    struct slice s;

    s.p = luaL_checklstring(L, idx, &s.len);
    return s;
}

static struct member *member_of(struct uids_binding *b)
{
    return list_entry(b, struct member, binding);
}

/* Mark the conns of the uids in the list at `idx`, or of nobody. */
static void pass_over(lua_State *L, int idx)
{
    struct people *p = vm_of(L)->all->people;
    struct slice uid;
    int i, n = lua_istable(L, idx) ? (int)lua_objlen(L, idx) : 0;

    people_begin_fanout(p);
    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, idx, i);
        uid.p = luaL_checklstring(L, -1, &uid.len);
        people_pass_over(p, uid);
        lua_pop(L, 1);
    }
}

/* The value and, behind it, what to leave out, whether it is volatile, and
 * what it is conflated by. */
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
    if (lua_type(L, idx + 3) == LUA_TSTRING)
        d->key = deliver_key(vm, check_slice(L, idx + 3));
}

/* spread(name, value, except, volatile, conflate) -> true, or nil, word */
static int spread(lua_State *L, enum spread_kind kind)
{
    struct vm *vm = vm_of(L);
    struct spread s = {.kind = kind, .name = check_slice(L, 1)};
    const char *why;
    struct deliver d;
    int rc;

    lua_settop(L, 5);
    buf_truncate(&vm->scratch, 0);
    if (lua_istable(L, 3) && lua_objlen(L, 3) > 0 &&
        lua_msgpack_encode(L, 3, &vm->scratch, &why) < 0)
        return co_raise(L, "except: %s", why);
    begin(L, &d, 2);
    s.except = buf_slice(&vm->scratch);
    s.value = d.value;
    s.is_volatile = d.is_volatile;
    s.key = d.key;
    rc = spread_room(vm, &s);
    if (rc == 0)
        rc = abroad_spread(vm->all->abroad, &s);
    if (rc == 0)
        rc = spread_far(vm, &s);
    if (rc == 0)
        spread_here(&d, s.kind, s.name);
    deliver_end(&d);
    return rc < 0 ? fail(L, rc) : done(L);
}

/* core.publish(topic, value, except, volatile) -> true, or nil, word */
static int l_publish(lua_State *L)
{
    if (!topics_is_name(check_slice(L, 1)))
        return co_raise(L, "bad topic name");
    return spread(L, SPREAD_TOPIC);
}

/* core.send_group(group, value, except, volatile) -> the same */
static int l_send_group(lua_State *L)
{
    return spread(L, SPREAD_GROUP);
}

/* core.send_all("", value, except, volatile) -> the same */
static int l_send_all(lua_State *L)
{
    return spread(L, SPREAD_ALL);
}

/* core.change_group(verb, group, uid, number, ...): "enter" or "leave", on all
 * workers -> true, or nil, word */
static int l_change_group(lua_State *L)
{
    static const char *const verbs[] = {
        [MSG_GROUP_ENTER] = "enter", [MSG_GROUP_LEAVE] = "leave", NULL};
    struct vm *vm = vm_of(L);
    int verb = luaL_checkoption(L, 1, NULL, verbs), i, rc;
    struct slice group = check_slice(L, 2);

    buf_truncate(&vm->scratch, 0);
    for (i = 3; i < lua_gettop(L); i += 2)
        spread_add_change(&vm->scratch, check_slice(L, i),
                          (uint64_t)luaL_checknumber(L, i + 1));
    rc = spread_group(vm, (uint32_t)verb, group, buf_slice(&vm->scratch));
    if (rc == 0) /* told again when it has no room: twice is once */
        rc = abroad_group(vm->all->abroad, (uint32_t)verb, group,
                          buf_slice(&vm->scratch));
    return rc < 0 ? fail(L, rc) : done(L);
}

/* 0 when at least one conn of the uid took it. */
static int send_to_uid(struct deliver *d, struct slice uid)
{
    struct uids_binding *b = uids_first(d->vm->all->people->uids, uid);
    int rc = SD_EOFFLINE, one;

    for (; b != NULL; b = uids_next(b)) {
        one = deliver_to(d, member_of(b)->conn);
        rc = rc == 0 ? 0 : one;
    }
    return rc;
}

/* The same, also of those that are leaving for another worker. */
static int send_to_ours(struct deliver *d, struct slice uid, unsigned told)
{
    int rc = send_to_uid(d, uid);

    return moves_send(d->vm->all->moves, uid, d, told, rc < 0) == 0 ? 0 : rc;
}

/* The i-th of the list at 1. */
static struct slice uid_at(lua_State *L, int i)
{
    struct slice uid = {"", 0};

    lua_rawgeti(L, 1, i);
    if (lua_type(L, -1) == LUA_TSTRING)
        uid.p = lua_tolstring(L, -1, &uid.len);
    lua_pop(L, 1); /* the list keeps it */
    return uid;
}

/* Nobody of this worker has it, so maybe another node. */
static bool may_be_abroad(const struct vm *vm, struct slice uid)
{
    return vm->all->abroad != NULL && uid.len > 0 &&
           uids_first(vm->all->people->uids, uid) == NULL &&
           moves_count(vm->all->moves, uid, NULL) == 0;
}

/* The same; or another node had it when it was sent the last message, which has
 * to arrive before this one. */
static bool is_abroad(const struct vm *vm, struct slice uid)
{
    return abroad_owes(vm->all->abroad, uid) || may_be_abroad(vm, uid);
}

/* It has conns here, with this outcome; those that it has on other nodes get it
 * too.  The outcome of both, as far as it is known. */
static int send_too(const struct deliver *d, struct slice uid, int rc)
{
    const struct vm *vm = d->vm;
    enum abroad_uid how = rc == 0          ? ABROAD_TOO
                          : rc == SD_ESLOW ? ABROAD_SLOW
                                           : ABROAD_GONE;
    int sent;

    if (vm->all->abroad == NULL || vm->env.elsewhere == NULL ||
        !elsewhere_has(vm->env.elsewhere, uid))
        return rc;
    sent = abroad_send_uid(vm->all->abroad, d, uid, how);
    if (sent < 0)
        people_count_lost(vm->all->people, sent);
    return sent == 0 ? 0 : rc;
}

/* Send to the uids of the list at 1, of which all must be told or none, and
 * fill the list at `results`: 0, or an error of the i-th. */
static int send_uids(lua_State *L, struct deliver *d, int results)
{
    struct reach *reach = d->vm->all->reach;
    int i, n = (int)lua_objlen(L, 1), rc;

    reach_begin(reach, (uint32_t)n);
    for (i = 1; i <= n; i++) {
        bool is_far = !abroad_owes(d->vm->all->abroad, uid_at(L, i)) &&
                      reach_add(reach, uid_at(L, i));

        lua_pushinteger(L, is_far ? (lua_Integer)reach_told(reach) : 0);
        lua_rawseti(L, results, i);
    }
    rc = reach_send(reach, d);
    for (i = 1; i <= n && rc == 0; i++) {
        int one;

        lua_rawgeti(L, results, i);
        if (lua_tointeger(L, -1) == 0 && is_abroad(d->vm, uid_at(L, i))) {
            lua_pop(L, 1);
            lua_pushinteger(L, abroad_send_uid(d->vm->all->abroad, d,
                                               uid_at(L, i), ABROAD_ALONE));
            lua_rawseti(L, results, i);
            continue;
        }
        one = send_to_ours(d, uid_at(L, i), (unsigned)lua_tointeger(L, -1));
        if (lua_tointeger(L, -1) != 0 && one < 0 &&
            !(uids_first(d->vm->all->people->uids, uid_at(L, i)) != NULL &&
              reach_missed_here(reach, uid_at(L, i))))
            one = 0; /* others were told */
        lua_pop(L, 1);
        one = send_too(d, uid_at(L, i), one);
        lua_pushinteger(L, one);
        lua_rawseti(L, results, i);
    }
    return rc;
}

/* core.send_uids(uids, value, nil, volatile, conflate) -> list of true or a
 * word; or nil, word */
static int l_send_uids(lua_State *L)
{
    struct deliver d;
    int i, n, results, rc;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 5);
    n = (int)lua_objlen(L, 1);
    lua_createtable(L, n, 0); /* so that filling it cannot raise */
    results = lua_gettop(L);
    begin(L, &d, 2);
    rc = send_uids(L, &d, results);
    deliver_end(&d);
    if (rc < 0)
        return fail(L, rc);
    for (i = 1; i <= n; i++) {
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

int vm_send_one(struct deliver *d, struct slice uid, bool *is_told)
{
    struct reach *reach = d->vm->all->reach;
    bool owes = abroad_owes(d->vm->all->abroad, uid), is_far;
    int rc;

    reach_begin(reach, 1);
    is_far = !owes && reach_add(reach, uid);
    if (owes || (!is_far && may_be_abroad(d->vm, uid)))
        return abroad_send_uid(d->vm->all->abroad, d, uid, ABROAD_ALONE);
    rc = is_far ? reach_send(reach, d) : 0;
    if (rc < 0)
        return rc;
    if (is_far && !reach_is_here(reach))
        return send_too(d, uid, 0);
    rc = send_to_ours(d, uid, reach_told(reach));
    if (rc < 0 && is_far && !reach_missed_here(reach, uid))
        rc = 0; /* others were told */
    rc = send_too(d, uid, rc);
    *is_told = rc < 0;
    return rc;
}

/* core.send_uid(uid, value) -> true; nil, word; or false, word: it was sent,
 * but reached nobody */
static int l_send_uid(lua_State *L)
{
    struct slice uid = check_slice(L, 1);
    bool is_told = false;
    struct deliver d;
    int rc;

    if (uid.len == 0 || uid.len > UIDS_LENGTH ||
        memchr(uid.p, '\0', uid.len) != NULL)
        return co_raise(L, "bad uid (text of 1 to 128 bytes expected)");

    lua_settop(L, 5);
    begin(L, &d, 2);
    d.is_single = true;
    rc = vm_send_one(&d, uid, &is_told);
    deliver_end(&d);
    if (rc == 0)
        return done(L);
    (void)fail(L, rc);
    if (is_told) {
        lua_pushboolean(L, 0);
        lua_replace(L, -3);
    }
    return 2;
}

/* core.deliver_here(uid, value) -> true, or nil, word */
static int l_deliver_here(lua_State *L)
{
    struct slice uid = check_slice(L, 1);
    struct deliver d;
    int rc;

    lua_settop(L, 2); /* nobody is left out */
    lua_settop(L, 5);
    begin(L, &d, 2);
    d.is_single = true;
    rc = send_to_uid(&d, uid);
    deliver_end(&d);
    return rc < 0 ? fail(L, rc == SD_EOFFLINE ? SD_EGONE : rc) : done(L);
}

int vm_push(lua_State *L, struct conn *c, int idx)
{
    struct deliver d;
    int rc;

    lua_settop(L, idx + 3);
    begin(L, &d, idx);
    d.is_single = true;
    rc = deliver_to(&d, c);
    deliver_end(&d);
    return rc;
}

static const luaL_Reg functions[] = {
    {"publish", l_publish},           {"send_group", l_send_group},
    {"change_group", l_change_group}, {"send_all", l_send_all},
    {"send_uids", l_send_uids},       {"send_uid", l_send_uid},
    {"deliver_here", l_deliver_here}, {NULL, NULL},
};

void bind_send(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
