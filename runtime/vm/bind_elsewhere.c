/* bind_elsewhere.c - uids that have conns on several nodes, for Lua: who knows
 * of one tells the others (ipc/elsewhere.h). */
#include <lauxlib.h>

#include "cluster/place.h"
#include "ipc/elsewhere.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "vm/far_call.h"
#include "vm/state.h"

enum {
    PAGE = 4096 /* uids looked at by one twins() */
};

static struct slice check_slice(lua_State *L, int idx)
{
    struct slice s;

    s.p = luaL_checklstring(L, idx, &s.len);
    return s;
}

/* core.is_elsewhere(uid): may it have conns on other nodes beside those here?
 */
static int l_is_elsewhere(lua_State *L)
{
    const struct vm *vm = vm_of(L);

    lua_pushboolean(L, vm->all->abroad != NULL && vm->env.elsewhere != NULL &&
                           elsewhere_has(vm->env.elsewhere, check_slice(L, 1)));
    return 1;
}

/* core.mark_elsewhere(uid, conn): it has this conn, too.  On another node, that
 * lives?  Then that is noted, and -> true */
static int l_mark_elsewhere(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct abroad *a = vm->all->abroad;
    struct slice uid = check_slice(L, 1);
    struct vm_conn_id id;
    struct place p;

    if (a == NULL || vm->env.elsewhere == NULL || !vm_conn_id(&id, L, 2))
        return 0;
    p = vm_conn_place(&id);
    if (p.boot == vm->env.boot || !abroad_lives(a, &p))
        return 0;
    (void)elsewhere_set(vm->env.elsewhere, uid);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.turn_elsewhere(): who was not marked since this was called before is
 * not elsewhere any more */
static int l_turn_elsewhere(lua_State *L)
{
    const struct vm *vm = vm_of(L);

    if (vm->env.elsewhere != NULL)
        elsewhere_turn(vm->env.elsewhere);
    return 0;
}

/* core.tell_elsewhere(uid, conn, ms) -> settle() makes true, or nil, word: tell
 * the node of that conn, of another node, that it has one here */
static int l_tell_elsewhere(lua_State *L)
{
    struct abroad *a = vm_of(L)->all->abroad;
    struct slice uid = check_slice(L, 1);
    struct abroad_letter l = {.to = {.type = FRAMES_PLACE},
                              .type = MSG_UID_TOO,
                              .body = &uid,
                              .n = 1};
    struct vm_conn_id id;

    if (a == NULL || a->uplink == NULL || !vm_conn_id(&id, L, 2))
        return 0;
    l.to.place = vm_conn_place(&id);
    return far_call(L, &l, (uint64_t)luaL_checkinteger(L, 3));
}

struct page {
    const struct elsewhere *map;
    lua_State *L;
    int n;
};

static bool add_twin(void *arg, const struct uidmap_binding *b)
{
    struct page *page = arg;

    if (elsewhere_has(page->map, b->uid)) {
        lua_pushlstring(page->L, b->uid.p, b->uid.len);
        lua_rawseti(page->L, 1, ++page->n);
    }
    return true;
}

/* core.twins(list, cursor) -> the next cursor, or nil: some of the uids online
 * here that may be elsewhere too are added to the list */
static int l_twins(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    double from = luaL_optnumber(L, 2, 0);
    uint64_t cursor = from > 0 && from < 4294967296.0 ? (uint64_t)from : 0;
    struct page page = {vm->env.elsewhere, L, 0};

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    page.n = (int)lua_objlen(L, 1);
    if (page.map == NULL || vm->env.uids == NULL ||
        elsewhere_is_empty(page.map))
        return 0;
    uidmap_scan(vm->env.uids, &cursor, PAGE, add_twin, &page);
    if (cursor == 0)
        return 0;
    lua_pushnumber(L, (double)cursor);
    return 1;
}

/* core.uid_hash(uid) -> 8 bytes, the same on all nodes */
static int l_uid_hash(lua_State *L)
{
    uint64_t h = elsewhere_hash(check_slice(L, 1));

    lua_pushlstring(L, (const char *)&h, sizeof(h));
    return 1;
}

static const luaL_Reg functions[] = {
    {"is_elsewhere", l_is_elsewhere},
    {"mark_elsewhere", l_mark_elsewhere},
    {"turn_elsewhere", l_turn_elsewhere},
    {"tell_elsewhere", l_tell_elsewhere},
    {"twins", l_twins},
    {"uid_hash", l_uid_hash},
    {NULL, NULL},
};

void bind_elsewhere(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
