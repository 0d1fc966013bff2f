/* abroad_left.c - bindings that have ended, for lua/sd/binds.lua: they are to
 * be taken out of Redis.
 *
 * They are kept here, and not in a vm, until that is done: Redis may be away
 * for longer than a vm lives.  A conn that has got the same uid again meanwhile
 * is left where it is; what is written later than this is seen here and now.
 *
 * Beyond a bound they are forgotten: what nobody asserts goes by itself
 * (lua/sd/location_store.lua). */
#include <lauxlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/conns.h"
#include "net/net.h"
#include "vm/abroad_state.h"
#include "vm/people.h"
#include "vm/state.h"

/* In the number of a binding that is not on trial (vm/rivals.c). */
#define SETTLED (UINT64_C(1) << 63)

enum {
    LEFT_MAX = 100000
};

struct left {
    struct list node;
    uint64_t conn;
    struct buf uid;
};

/* Somebody is to take them; who was to may have died of it. */
static void call_taker(struct abroad *a)
{
    struct vm *vm = vms_now(a->all);
    struct co *co;

    if (clock_ms() < a->taken_until)
        return;
    co = vm_enter(vm, vm->entry[ENTRY_LEFT], CO_CALL,
                  vm->env.conf->server.call_timeout);
    if (co == NULL)
        return;
    a->taken_until = clock_ms() + vm->env.conf->server.call_timeout;
    co->on_end = vm_log_end;
    co_ready(co, 0);
}

static bool add_left(struct abroad *a, struct slice uid, uint64_t conn)
{
    struct left *l;

    if (a->nleft >= LEFT_MAX)
        return false;
    l = mem_zalloc(sizeof(*l));
    l->conn = conn;
    buf_append(&l->uid, uid.p, uid.len);
    list_add(&a->left, &l->node);
    a->nleft++;
    return true;
}

/* A relay is told only when no other conn here has the uid: it knows places,
 * not conns. */
void abroad_left(struct abroad *a, struct slice uid, uint64_t conn,
                 uint64_t number)
{
    if (a == NULL || a->uplink == NULL)
        return;
    if (list_empty(&a->left))
        a->taken_until = 0;
    if (add_left(a, uid, conn))
        call_taker(a);
    if (conns_slot(conn) == a->all->env.slot &&
        conns_epoch(conn) == a->all->env.epoch &&
        uids_first(a->all->people->uids, uid) == NULL)
        abroad_locate(a, uid, number & ~SETTLED, false, false);
}

static void drop_left(struct abroad *a, struct left *l)
{
    list_del(&l->node);
    buf_fini(&l->uid);
    mem_free(l);
    a->nleft--;
}

void abroad_drop_left(struct abroad *a)
{
    while (!list_empty(&a->left))
        drop_left(a, list_entry(a->left.next, struct left, node));
}

/* Has that conn the uid again? */
static bool is_back(const struct abroad *a, const struct left *l)
{
    struct net *net = a->all->env.net;
    struct conn *c = net != NULL ? net_find(net, l->conn) : NULL;
    const struct member *m = c != NULL ? people_find(c) : NULL;

    return m != NULL && uids_is_bound(&m->binding) &&
           slice_eq(uids_name(&m->binding), buf_slice(&l->uid));
}

/* core.take_left(n) -> a list of uid and conn id in turn, of up to n bindings
 * that have ended */
static int l_take_left(lua_State *L)
{
    struct abroad *a = vm_of(L)->all->abroad;
    lua_Integer most = luaL_checkinteger(L, 1);
    int at = 0;

    lua_newtable(L);
    while (a != NULL && most > 0 && !list_empty(&a->left)) {
        struct left *l = list_entry(a->left.next, struct left, node);
        struct slice uid = buf_slice(&l->uid);

        if (!is_back(a, l)) {
            lua_pushlstring(L, uid.p, uid.len);
            lua_rawseti(L, -2, ++at);
            abroad_push_conn(L, a->all->env.boot, l->conn);
            lua_rawseti(L, -2, ++at);
            most--;
        }
        drop_left(a, l);
    }
    return 1;
}

/* core.keep_left(list): they are to be taken later */
static int l_keep_left(lua_State *L)
{
    struct abroad *a = vm_of(L)->all->abroad;
    int i, n;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = (int)lua_objlen(L, 1);
    for (i = 1; a != NULL && i + 1 <= n; i += 2) {
        struct vm_conn_id id;
        struct slice uid;

        lua_rawgeti(L, 1, i);
        lua_rawgeti(L, 1, i + 1);
        uid.p = luaL_checklstring(L, -2, &uid.len);
        if (vm_conn_id(&id, L, -1))
            (void)add_left(a, uid, id.id);
        lua_pop(L, 2);
    }
    return 0;
}

static const luaL_Reg functions[] = {
    {"take_left", l_take_left}, {"keep_left", l_keep_left}, {NULL, NULL}};

void bind_left(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
