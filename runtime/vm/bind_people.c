/* bind_people.c - uids and topics, for lua/sd/people.lua: who the conns of
 * this worker are, what they listen to, and who is online on the node. */
#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "ipc/uidmap.h"
#include "net/conn.h"
#include "vm/abroad_state.h"
#include "vm/deliver.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/state.h"
#include "vm/undelivered.h"

enum {
    PAGE = 1000 /* uids of one online_uids() */
};

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

/* The member of an open conn, to be changed; NULL: gone.  A conn that speaks
 * HTTP has one during its handshake only. */
static struct member *member_at(lua_State *L, int idx)
{
    struct vm *vm = vm_of(L);
    struct conn *c = vm_conn(L, idx);
    struct member *m;

    deliver_check_idle(L);
    if (c == NULL || !conn_is_open(c) || conn_is_half_closed(c))
        return NULL;
    m = people_find(c);
    if (m == NULL && conn_protocol(c) != CONN_HTTP)
        m = people_add(vm->all->people, c);
    return m != NULL && !m->is_leaving ? m : NULL;
}

/* --- who a conn is -------------------------------------------------------- */

static const char *const policies[] = {"kick", "refuse", "allow", NULL};

static enum uids_policy policy_of(lua_State *L, int idx, const struct conn *c)
{
    const char *name = lua_tostring(L, idx);
    int i;

    if (lua_isnoneornil(L, idx))
        return (enum uids_policy)conn_conf(c)->uid_policy;
    for (i = 0; policies[i] != NULL; i++) {
        if (name != NULL && strcmp(name, policies[i]) == 0)
            return (enum uids_policy)i;
    }
    return (enum uids_policy)co_raise(L, "bad policy (kick, refuse or allow)");
}

/* core.bind_policy(handle, policy or nil) -> the one that holds; nil: the conn
 * has gone */
static int l_bind_policy(lua_State *L)
{
    const struct member *m = member_at(L, 1);

    if (m == NULL)
        return 0;
    lua_pushstring(L, policies[policy_of(L, 2, m->conn)]);
    return 1;
}

/* core.bind_uid(handle, uid, policy) -> true, or nil, word; then close who is
 * kicked */
static int l_bind_uid(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct slice uid = check_slice(L, 2);
    struct member *m = member_at(L, 1);
    enum uids_policy policy;
    int rc;

    if (m == NULL)
        return fail(L, SD_EGONE);
    policy = policy_of(L, 3, m->conn);
    if (policy == UIDS_REFUSE && moves_count(vm->all->moves, uid, NULL) > 0)
        return fail(L, SD_EREFUSED);
    rc = people_bind(vm->all->people, m, uid, policy);
    if (rc == 0)
        m->policy = policy;
    if (rc == 0 && policy == UIDS_KICK)
        (void)moves_count(vm->all->moves, uid, "replaced");
    return rc < 0 ? fail(L, rc) : done(L);
}

/* core.unbind_uid(handle) */
static int l_unbind_uid(lua_State *L)
{
    struct member *m = member_at(L, 1);

    if (m != NULL)
        people_unbind(vm_of(L)->all->people, m);
    return 0;
}

/* core.kick(uid, reason) -> true, or nil, word; then close who is kicked */
static int l_kick(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct slice uid = check_slice(L, 1);
    const char *reason = luaL_checkstring(L, 2);
    unsigned n;

    deliver_check_idle(L);
    n = kicks_uid(&vm->all->kicks, uid, reason);

    n += people_kick(vm->all->people, uid, reason);
    n += moves_count(vm->all->moves, uid, reason);
    return n == 0 ? fail(L, SD_EOFFLINE) : done(L);
}

/* core.next_kicked() -> handle, or nil when all were given */
static int l_next_kicked(lua_State *L)
{
    struct member *m = people_next_kicked(vm_of(L)->all->people);

    if (m == NULL)
        return 0;
    lua_pushnumber(L, vm_handle(m->conn));
    return 1;
}

/* --- who is online -------------------------------------------------------- */

static bool is_online(const struct vm *vm, struct slice uid)
{
    if (vm->env.uids != NULL)
        return uidmap_is_online(vm->env.uids, uid);
    return uids_first(vm->all->people->uids, uid) != NULL;
}

/* core.is_online(uid) */
static int l_is_online(lua_State *L)
{
    lua_pushboolean(L, is_online(vm_of(L), check_slice(L, 1)));
    return 1;
}

/* core.count_online() -> uids with a conn */
static int l_count_online(lua_State *L)
{
    struct vm *vm = vm_of(L);

    lua_pushnumber(L, vm->env.uids != NULL ? uidmap_count(vm->env.uids)
                                           : uids_count(vm->all->people->uids));
    return 1;
}

struct page {
    lua_State *L;
    int n;
};

static void add_to_page(void *arg, struct slice uid)
{
    struct page *page = arg;

    lua_pushlstring(page->L, uid.p, uid.len);
    lua_rawseti(page->L, -2, ++page->n);
}

static bool add_binding(void *arg, const struct uidmap_binding *b)
{
    add_to_page(arg, b->uid);
    return true;
}

/* core.online_uids(list, cursor) -> list, next; nil: that was all */
static int l_online_uids(lua_State *L)
{
    struct vm *vm = vm_of(L);
    double from = luaL_optnumber(L, 2, 0);
    uint64_t cursor = from > 0 && from < 4294967296.0 ? (uint64_t)from : 0;
    struct page page = {L, 0};

    lua_settop(L, 1);
    do {
        if (vm->env.uids != NULL)
            uidmap_scan(vm->env.uids, &cursor, PAGE, add_binding, &page);
        else
            uids_scan(vm->all->people->uids, &cursor, add_to_page, &page);
    } while (cursor != 0 && page.n < PAGE);
    if (cursor == 0)
        return 1;
    lua_pushnumber(L, (double)cursor);
    return 2;
}

/* core.ended_uid() -> uid, last, reason and conn id of the oldest binding that
 * ended */
static int l_ended_uid(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    struct people *p = vm->all->people;
    struct people_end *end;

    if (list_empty(&p->ends))
        return 0;
    end = list_entry(p->ends.next, struct people_end, link);
    lua_pushlstring(L, end->uid.p, end->uid.len);
    lua_pushboolean(L, end->last);
    lua_pushlstring(L, end->reason.p, end->reason.len);
    abroad_push_conn(L, vm->env.boot, end->conn);
    people_drop_end(people_take_end(p));
    return 4;
}

/* --- what it listens to --------------------------------------------------- */

static struct slice check_filter(lua_State *L, int idx)
{
    struct slice filter = {NULL, 0};

    if (lua_type(L, idx) == LUA_TSTRING)
        filter.p = lua_tolstring(L, idx, &filter.len);
    if (filter.p == NULL || !topics_is_filter(filter))
        co_raise(L, "bad topic filter");
    return filter;
}

/* core.subscribe(handle, filter) -> true, or nil, word */
static int l_subscribe(lua_State *L)
{
    struct slice filter = check_filter(L, 2);
    struct member *m = member_at(L, 1);
    int rc = m != NULL ? people_subscribe(vm_of(L)->all->people, m, filter)
                       : SD_EGONE;

    return rc < 0 ? fail(L, rc) : done(L);
}

/* core.unsubscribe(handle, filter) */
static int l_unsubscribe(lua_State *L)
{
    struct slice filter = check_filter(L, 2);
    struct member *m = member_at(L, 1);

    if (m != NULL)
        topics_unsubscribe(vm_of(L)->all->people->topics, &m->topics, filter);
    return 0;
}

/* core.topic_filter(filter): raises when it is none */
static int l_topic_filter(lua_State *L)
{
    (void)check_filter(L, 1);
    return 0;
}

static int with_filter_here(lua_State *L,
                            int (*fn)(struct people *, struct slice uid,
                                      struct slice filter))
{
    struct slice uid = check_slice(L, 1), filter = check_filter(L, 2);
    int rc;

    deliver_check_idle(L);
    rc = fn(vm_of(L)->all->people, uid, filter);
    return rc < 0 ? fail(L, rc) : done(L);
}

/* core.subscribe_here(uid, filter) -> true, or nil, word: the conns that the
 * uid has on this worker */
static int l_subscribe_here(lua_State *L)
{
    return with_filter_here(L, people_subscribe_uid);
}

/* core.unsubscribe_here(uid, filter) -> true, or nil, word */
static int l_unsubscribe_here(lua_State *L)
{
    return with_filter_here(L, people_unsubscribe_uid);
}

/* core.topic_count_here(filter) -> conns of this worker with exactly this
 * filter */
static int l_topic_count_here(lua_State *L)
{
    struct topics *t = vm_of(L)->all->people->topics;

    lua_pushnumber(L, topics_count(t, check_filter(L, 1)));
    return 1;
}

static void add_groups(lua_State *L, int idx, struct member *m)
{
    int i, n = (int)lua_objlen(L, idx);

    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, idx, i);
        people_add_group(vm_of(L)->all->people, m, check_slice(L, -1));
        lua_pop(L, 1);
    }
}

/* core.group_mark(uid) -> a mark to be taken before its groups are read; nil:
 * it has no conn here */
static int l_group_mark(lua_State *L)
{
    const struct people *p = vm_of(L)->all->people;

    if (uids_first(p->uids, check_slice(L, 1)) == NULL)
        return 0;
    lua_pushnumber(L, (double)p->group_clock);
    return 1;
}

/* core.set_groups(uid, mark, groups, number) -> true; false: read again.  Of
 * all conns it has here. */
static int l_set_groups(lua_State *L)
{
    struct people *p = vm_of(L)->all->people;
    struct uids_binding *b = uids_first(p->uids, check_slice(L, 1));
    uint64_t mark = (uint64_t)luaL_checknumber(L, 2);
    uint64_t number = (uint64_t)luaL_checknumber(L, 4);
    bool all = true;

    deliver_check_idle(L);
    luaL_checktype(L, 3, LUA_TTABLE);
    for (; b != NULL; b = uids_next(b)) {
        struct member *m = list_entry(b, struct member, binding);

        if (people_take_groups(p, m, mark, number))
            add_groups(L, 3, m);
        else
            all = false;
    }
    lua_pushboolean(L, all);
    return 1;
}

static const luaL_Reg functions[] = {
    {"bind_policy", l_bind_policy},
    {"bind_uid", l_bind_uid},
    {"unbind_uid", l_unbind_uid},
    {"kick", l_kick},
    {"next_kicked", l_next_kicked},
    {"is_online", l_is_online},
    {"count_online", l_count_online},
    {"online_uids", l_online_uids},
    {"ended_uid", l_ended_uid},
    {"subscribe", l_subscribe},
    {"unsubscribe", l_unsubscribe},
    {"topic_filter", l_topic_filter},
    {"subscribe_here", l_subscribe_here},
    {"unsubscribe_here", l_unsubscribe_here},
    {"topic_count_here", l_topic_count_here},
    {"group_mark", l_group_mark},
    {"set_groups", l_set_groups},
    {NULL, NULL},
};

void bind_people(lua_State *L)
{
    luaL_register(L, NULL, functions);
    bind_send(L);
    bind_far(L);
    bind_undelivered(L);
    bind_uidcall(L);
}
