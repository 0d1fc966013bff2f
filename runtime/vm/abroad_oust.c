/* abroad_oust.c - a conn that has lost its uid to a newer one on another node
 * has to go: the winner's worker says so to the loser's. */
#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "ipc/msg.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/reason.h"
#include "vm/far_call.h"
#include "vm/people.h"
#include "vm/state.h"

/* In the number of a binding that is not on trial (vm/rivals.c). */
#define SETTLED (UINT64_C(1) << 63)

static struct slice check_slice(lua_State *L, int idx)
{
    struct slice s;

    s.p = luaL_checklstring(L, idx, &s.len);
    return s;
}

/* core.oust(conn id, uid, number, reason, ms) -> settle() makes true, or nil,
 * word: close that conn if it is still bound to the uid, by a lower number */
static int l_oust(lua_State *L)
{
    struct abroad *a = vm_of(L)->all->abroad;
    struct slice uid = check_slice(L, 2), reason = check_slice(L, 4);
    struct msg_oust m = {.number = (uint64_t)luaL_checknumber(L, 3),
                         .uid_len = (uint32_t)uid.len};
    uint64_t ms = (uint64_t)luaL_checkinteger(L, 5);
    struct slice v[3] = {
        {(const char *)&m, sizeof(m)}, uid, reason_fit(reason)};
    struct abroad_letter l = {
        .to = {.type = FRAMES_PLACE}, .type = MSG_OUST, .body = v, .n = 3};
    struct vm_conn_id id;

    if (a == NULL || a->uplink == NULL || !vm_conn_id(&id, L, 1)) {
        lua_pushnil(L);
        lua_pushstring(L, err_word(SD_EGONE));
        return 2;
    }
    m.conn = id.id;
    l.to.place = vm_conn_place(&id);
    return far_call(L, &l, ms);
}

/* core.note_elsewhere(handle): a conn of another node has its uid, so that the
 * binding, which is about to end, is not the last */
static int l_note_elsewhere(lua_State *L)
{
    struct conn *c = vm_conn(L, 1);
    struct member *m = c != NULL ? people_find(c) : NULL;

    if (m != NULL)
        m->is_elsewhere = true;
    return 0;
}

int abroad_take_oust(struct abroad *a, struct slice body)
{
    char reason[REASON_TEXT + 1] = "";
    struct member *member;
    struct msg_oust m;
    struct slice uid;
    struct conn *c;

    if (body.len < sizeof(m))
        return SD_EINVALID;
    memcpy(&m, body.p, sizeof(m));
    body = slice_skip(body, sizeof(m));
    if (m.uid_len > body.len)
        return SD_EINVALID;
    uid = slice_make(body.p, m.uid_len);
    body = slice_skip(body, m.uid_len);
    memcpy(reason, body.p, body.len < REASON_TEXT ? body.len : REASON_TEXT);
    c = a->all->env.net != NULL ? net_find(a->all->env.net, m.conn) : NULL;
    member = c != NULL ? people_find(c) : NULL;
    if (member == NULL || !uids_is_bound(&member->binding) ||
        !slice_eq(uids_name(&member->binding), uid) ||
        (member->number & ~SETTLED) >= m.number)
        return 0; /* it has gone, or is a newer one */
    member->is_elsewhere = true;
    vms_close_conn(a->all, c, reason);
    return 0;
}

static const luaL_Reg functions[] = {
    {"oust", l_oust}, {"note_elsewhere", l_note_elsewhere}, {NULL, NULL}};

void bind_oust(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
