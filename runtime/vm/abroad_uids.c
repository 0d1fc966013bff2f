/* abroad_uids.c - where uids are, for lua/sd/location.lua.
 *
 * Redis knows which conns of all nodes a uid has; Lua asks it and writes to it.
 * C says when that has to be done: when a uid has to be found for a message
 * that waits, when its conn has come from another worker (here), and when a
 * binding has ended (abroad_left.c). */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/uplink.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "net/conn.h"
#include "net/conns.h"
#include "net/net.h"
#include "net/reason.h"
#include "vm/abroad_state.h"
#include "vm/people.h"
#include "vm/state.h"

/* In the number of a binding that is not on trial (vm/rivals.c). */
#define SETTLED (UINT64_C(1) << 63)

enum {
    SPOTS_MAX = FRAMES_PLACES
};

static struct slice check_slice(lua_State *L, int idx)
{
    struct slice s;

    s.p = luaL_checklstring(L, idx, &s.len);
    return s;
}

static struct abroad *abroad_of(lua_State *L)
{
    return vm_of(L)->all->abroad;
}

void abroad_push_conn(lua_State *L, uint64_t boot, uint64_t id)
{
    char text[33];

    snprintf(text, sizeof(text), "%016llx%016llx", (unsigned long long)boot,
             (unsigned long long)id);
    lua_pushlstring(L, text, 32);
}

/* --- finding -------------------------------------------------------------- */

struct uid_push {
    struct slice uid;
    lua_State *to;
};

/* Under lua_cpcall: a string is allocated. */
static int push_uid(lua_State *L)
{
    const struct uid_push *p = lua_touserdata(L, 1);

    lua_pushlstring(L, p->uid.p, p->uid.len);
    lua_xmove(L, p->to, 1);
    return 0;
}

void abroad_on_resolve(void *arg, const struct slice *uid)
{
    struct abroad *a = arg;
    struct vm *vm = vms_now(a->all);
    struct co *co = vm_enter(vm, vm->entry[ENTRY_LOCATE], CO_CALL,
                             vm->env.conf->server.call_timeout);
    struct uid_push push = {.uid = *uid};

    if (co == NULL)
        return; /* it is asked again */
    push.to = co->L;
    if (lua_cpcall(vm->L, push_uid, &push) != 0) {
        lua_pop(vm->L, 1);
        co_give_back(co);
        return; /* the same */
    }
    co->on_end = vm_log_end;
    co_ready(co, 1);
}

void abroad_arrived(struct abroad *a, struct conn *c)
{
    struct vm *vm;
    struct co *co;

    if (a == NULL || a->uplink == NULL)
        return;
    vm = vms_now(a->all);
    co = vm_enter(vm, vm->entry[ENTRY_ARRIVED], CO_CALL,
                  vm->env.conf->server.call_timeout);
    if (co == NULL)
        return; /* it is asserted later */
    co->on_end = vm_log_end;
    lua_pushnumber(co->L, vm_handle(c));
    co_ready(co, 1);
}

/* Can the process that has this conn be alive?  One that a relay has a link to
 * is, whatever members say of its node. */
bool abroad_lives(struct abroad *a, const struct place *p)
{
    const struct vm_env *env = &a->all->env;

    if (p->boot == env->boot)
        return slots_is_alive(mesh_slots(env->mesh), p->slot, p->epoch) != 0;
    return roster_has(abroad_roster(a), p->boot) ||
           (a->uplink != NULL && outbox_covers(uplink_outbox(a->uplink), p));
}

bool abroad_on_lives(void *arg, const struct place *p)
{
    return abroad_lives(arg, p);
}

static bool is_same(const struct place *a, const struct place *b)
{
    return a->boot == b->boot && a->slot == b->slot && a->epoch == b->epoch;
}

static unsigned add_spot(struct frames_spot *spots, unsigned n,
                         const struct place *p, uint64_t number)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        if (!is_same(&spots[i].place, p))
            continue;
        if (number > spots[i].bind)
            spots[i].bind = number;
        return n;
    }
    if (n < SPOTS_MAX)
        spots[n++] = (struct frames_spot){*p, number};
    return n;
}

/* core.located(uid, found, conns, sole): found "at", "unavailable" or "flood";
 * conns a list of conn id and number in turn */
static int l_located(lua_State *L)
{
    static const char *const words[] = {[OUTBOX_AT] = "at",
                                        [OUTBOX_UNAVAILABLE] = "unavailable",
                                        [OUTBOX_FLOOD] = "flood",
                                        NULL};
    struct abroad *a = abroad_of(L);
    struct slice uid = check_slice(L, 1);
    enum outbox_found found =
        (enum outbox_found)luaL_checkoption(L, 2, NULL, words);
    struct frames_spot spots[SPOTS_MAX];
    struct outbox_places at = {.spot = spots};
    unsigned n = 0;
    int i, len = lua_istable(L, 3) ? (int)lua_objlen(L, 3) : 0;

    if (a == NULL || a->uplink == NULL)
        return 0;
    for (i = 1; i + 1 <= len; i += 2) {
        struct vm_conn_id id;
        struct place p;

        lua_rawgeti(L, 3, i);
        lua_rawgeti(L, 3, i + 1);
        if (vm_conn_id(&id, L, -2)) {
            p = vm_conn_place(&id);
            if (abroad_lives(a, &p))
                n = add_spot(spots, n, &p, (uint64_t)lua_tonumber(L, -1));
        }
        lua_pop(L, 2);
    }
    at.found = found;
    at.count = n;
    at.is_sole = lua_toboolean(L, 4) != 0;
    outbox_resolved(uplink_outbox(a->uplink), uid, &at, clock_ms());
    return 0;
}

/* core.conn_lives(conn id): can it be there? */
static int l_conn_lives(lua_State *L)
{
    struct abroad *a = abroad_of(L);
    struct vm_conn_id id;
    struct place p;

    if (a == NULL || !vm_conn_id(&id, L, 1))
        return 0;
    p = vm_conn_place(&id);
    lua_pushboolean(L, abroad_lives(a, &p));
    return 1;
}

/* core.boot_lives(boot): is it a node that lives, as far as is known? */
static int l_boot_lives(lua_State *L)
{
    struct abroad *a = abroad_of(L);
    uint64_t boot = strtoull(luaL_checkstring(L, 1), NULL, 16);

    lua_pushboolean(L, a != NULL && roster_has(abroad_roster(a), boot));
    return 1;
}

/* --- binding -------------------------------------------------------------- */

static struct member *bound_at(lua_State *L, int idx)
{
    struct conn *c = vm_conn(L, idx);
    struct member *m = c != NULL ? people_find(c) : NULL;

    return m != NULL && uids_is_bound(&m->binding) ? m : NULL;
}

/* core.binding(handle) -> uid, conn id, number, policy, whether its groups were
 * read; nothing: it is not bound */
static int l_binding(lua_State *L)
{
    static const char *const policies[] = {
        [UIDS_KICK] = "kick", [UIDS_REFUSE] = "refuse", [UIDS_ALLOW] = "allow"};
    struct vm *vm = vm_of(L);
    struct member *m = bound_at(L, 1);
    struct slice uid;

    if (m == NULL)
        return 0;
    uid = uids_name(&m->binding);
    lua_pushlstring(L, uid.p, uid.len);
    abroad_push_conn(L, vm->env.boot, m->id);
    lua_pushnumber(L, (lua_Number)(m->number & ~SETTLED));
    lua_pushstring(L, policies[m->policy]);
    lua_pushboolean(L, m->knows_groups);
    return 5;
}

/* core.raise_binding(handle, uid, number) -> is it bound to that uid still?
 * Its number is this one from now on, if that is higher. */
static int l_raise_binding(lua_State *L)
{
    struct people *p = vm_of(L)->all->people;
    struct member *m = bound_at(L, 1);
    struct slice uid = check_slice(L, 2);
    uint64_t number = (uint64_t)luaL_checknumber(L, 3) | SETTLED;

    if (m == NULL || !slice_eq(uids_name(&m->binding), uid))
        return 0;
    if (number > m->number && p->map != NULL &&
        uidmap_bind(p->map, uid, m->id, number) == 0)
        m->number = number;
    lua_pushboolean(L, 1);
    return 1;
}

/* core.bindings(cursor, n) -> the next cursor, or nil, and a list of up to n
 * handles of bound conns */
static int l_bindings(lua_State *L)
{
    struct vm *vm = vm_of(L);
    uint32_t cursor = (uint32_t)luaL_checknumber(L, 1);
    lua_Integer most = luaL_checkinteger(L, 2), n = 0;
    struct conn *c = NULL;

    lua_newtable(L);
    while (n < most && vm->env.net != NULL &&
           (c = net_next(vm->env.net, &cursor)) != NULL) {
        const struct member *m = people_find(c);

        if (m == NULL || !uids_is_bound(&m->binding))
            continue;
        lua_pushnumber(L, vm_handle(c));
        lua_rawseti(L, -2, (int)++n);
    }
    if (c != NULL || n == most)
        lua_pushnumber(L, cursor);
    else
        lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* core.locate(uid, number, is here, sole): tell the relay that is asked for
 * it */
static int l_locate(lua_State *L)
{
    struct abroad *a = abroad_of(L);

    abroad_locate(a, check_slice(L, 1), (uint64_t)luaL_checknumber(L, 2),
                  lua_toboolean(L, 3) != 0, lua_toboolean(L, 4) != 0);
    return 0;
}

void abroad_locate(struct abroad *a, struct slice uid, uint64_t number,
                   bool is_here, bool is_sole)
{
    struct frames_locate l = {
        .is_here = is_here, .is_sole = is_sole, .bind = number, .uid = uid};
    char bytes[FRAMES_CONTROL_MAX];
    struct slice told;
    void *relay;

    if (a == NULL || a->uplink == NULL || uid.len > FRAMES_UID_LENGTH)
        return;
    told = slice_make(bytes, frames_write_locate(bytes, &l));
    if (is_here && !is_sole) {
        /* Who knows other places of it would not look for this one. */
        uplink_tell(a->uplink, FRAMES_LOCATE, told);
        return;
    }
    relay = outbox_owner(uplink_outbox(a->uplink), uid);
    if (relay != NULL)
        uplink_tell_one(relay, FRAMES_LOCATE, told);
}

/* --- the rest ------------------------------------------------------------- */

/* core.cluster_id([id]) -> the number by which members know their Redis; 0: not
 * known yet */
static int l_cluster_id(lua_State *L)
{
    const struct vm_env *env = &vm_of(L)->env;
    struct slots *slots = mesh_slots(env->mesh);

    if (!lua_isnoneornil(L, 1))
        slots_set(slots, env->slot, SLOT_REDIS,
                  (uint64_t)luaL_checknumber(L, 1));
    lua_pushnumber(L, (lua_Number)slots_get(slots, env->slot, SLOT_REDIS));
    return 1;
}

/* core.bound_here() -> conns of this worker that have a uid */
static int l_bound_here(lua_State *L)
{
    lua_pushnumber(L, uids_bound(vm_of(L)->all->people->uids));
    return 1;
}

/* core.location_round() -> seconds in which all bindings are asserted, if a
 * spec does not want to wait; nothing: as usual */
static int l_location_round(lua_State *L)
{
    const char *text = getenv("SD_SPEC_ROUND");

    if (text == NULL)
        return 0;
    lua_pushnumber(L, atof(text));
    return 1;
}

/* core.in_cluster() */
static int l_in_cluster(lua_State *L)
{
    lua_pushboolean(L, abroad_of(L) != NULL);
    return 1;
}

static const luaL_Reg functions[] = {
    {"located", l_located},
    {"conn_lives", l_conn_lives},
    {"boot_lives", l_boot_lives},
    {"binding", l_binding},
    {"raise_binding", l_raise_binding},
    {"bindings", l_bindings},
    {"locate", l_locate},
    {"cluster_id", l_cluster_id},
    {"in_cluster", l_in_cluster},
    {"location_round", l_location_round},
    {"bound_here", l_bound_here},
    {NULL, NULL},
};

void bind_abroad(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
