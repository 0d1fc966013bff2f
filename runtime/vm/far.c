/* far.c - sends to conns of other processes, and those that come from them.
 *
 * A value travels as msgpack and becomes bytes where its conn lives.  Nobody
 * waits for an answer here: what cannot be delivered there is counted. */
#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "base/log.h"
#include "cluster/place.h"
#include "codec/wire.h"
#include "ipc/msg.h"
#include "net/conn.h"
#include "net/conns.h"
#include "net/net.h"
#include "net/reason.h"
#include "vm/abroad.h"
#include "vm/deliver.h"
#include "vm/event.h"
#include "vm/lua_msgpack.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/spread.h"
#include "vm/state.h"
#include "vm/task_state.h"

struct place vm_conn_place(const struct vm_conn_id *id)
{
    return (struct place){id->boot, (uint16_t)conns_epoch(id->id),
                          (uint8_t)conns_slot(id->id)};
}

static int send_far(struct vm *vm, const struct vm_conn_id *id, uint32_t type,
                    struct slice body)
{
    struct place to = vm_conn_place(id);
    struct msg_conn conn = {id->id};
    struct wire_head h = {.boot = vm->env.boot,
                          .counter = ++vm->all->tasks->counter,
                          .life_ms = UINT32_MAX,
                          .len = (uint32_t)(sizeof(conn) + body.len),
                          .type = (uint16_t)type,
                          .epoch = (uint16_t)vm->env.epoch,
                          .slot = (uint8_t)vm->env.slot};
    char head[WIRE_HEAD];
    struct slice v[3] = {
        {head, sizeof(head)}, {(const char *)&conn, sizeof(conn)}, body};
    struct place_letter letter = {type, MESH_PLAIN, v, 3};
    struct slots *slots;

    if (body.len > WIRE_BODY_MAX - sizeof(conn))
        return SD_ETOOLARGE;
    if (id->boot != vm->env.boot)
        return abroad_send_place(vm->all->abroad, &to, type, v + 1, 2);
    if (vm->env.mesh == NULL)
        return SD_EGONE;
    slots = mesh_slots(vm->env.mesh);
    if (id->boot == vm->env.boot && (to.slot >= slots_count(slots) ||
                                     slots_role(slots, to.slot) != SLOT_WORKER))
        return SD_EGONE;
    wire_encode(head, &h);
    return place_send(vm->env.mesh, vm->env.boot, &to, &letter);
}

static int answer(lua_State *L, int rc)
{
    if (rc == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, rc == SD_EOFFLINE ? "gone" : err_word(rc));
    return 2;
}

/* core.send_far(conn_id, value) -> true, or nil, word */
static int l_send_far(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct vm_conn_id id;
    const char *why;

    buf_truncate(&vm->scratch, 0);
    if (lua_msgpack_encode(L, 2, &vm->scratch, &why) < 0)
        return co_raise(L, "cannot send: %s", why);
    if (!vm_conn_id(&id, L, 1))
        return answer(L, SD_EGONE);
    return answer(L, send_far(vm, &id, MSG_SEND, buf_slice(&vm->scratch)));
}

/* core.close_far(conn_id, reason) -> true, or nil, word */
static int l_close_far(lua_State *L)
{
    struct vm_conn_id id;
    struct slice reason = {"closed", 6};

    if (!lua_isnoneornil(L, 2))
        reason.p = luaL_checklstring(L, 2, &reason.len);
    reason = reason_fit(reason);
    if (!vm_conn_id(&id, L, 1))
        return answer(L, SD_EGONE);
    return answer(L, send_far(vm_of(L), &id, MSG_CLOSE_CONN, reason));
}

/* --- the receiving side --------------------------------------------------- */

static void take_send(struct vm *vm, struct conn *c, struct slice value)
{
    struct deliver d;

    if (c == NULL) {
        people_count_lost(vm->all->people, SD_EGONE);
        return;
    }
    deliver_begin(&d, vm, vm->L, value);
    d.tells = d.is_single = d.follows = true;
    (void)deliver_to(&d, c);
    deliver_end(&d);
}

static void take_close(struct vm *vm, struct conn *c, struct slice text)
{
    char reason[REASON_TEXT + 1];
    size_t len = text.len < REASON_TEXT ? text.len : REASON_TEXT;

    memcpy(reason, text.p, len);
    reason[len] = '\0';
    vms_close_conn(vm->all, c, reason);
}

/* MSG_SEND and MSG_CLOSE_CONN.  0 or SD_EGONE. */
static int take_for_conn(struct vm *vm, uint32_t type, struct slice body)
{
    struct msg_conn to;
    struct conn *c = NULL;

    memcpy(&to, body.p, sizeof(to));
    body = slice_skip(body, sizeof(to));
    if (vm->env.net != NULL)
        c = net_find(vm->env.net, to.conn);
    if (c == NULL &&
        (type == MSG_SEND ? moves_send_to(vm->all->moves, to.conn, body)
                          : moves_close(vm->all->moves, to.conn, body)))
        return 0;
    if (type == MSG_SEND)
        take_send(vm, c, body);
    else if (c != NULL)
        take_close(vm, c, body);
    return c != NULL ? 0 : SD_EGONE;
}

int people_take_far(struct vm *vm, uint32_t type, struct slice body)
{
    return body.len < sizeof(struct msg_conn) ? SD_EINVALID
                                              : take_for_conn(vm, type, body);
}

/* False: there is nothing to take, and whoever has to know of that was told. */
static bool read_msg(struct vm *vm, const struct mesh_msg *m,
                     struct wire_head *h, struct slice *body)
{
    if (m->err != 0 && m->type == MSG_SEND_UIDS && m->body.len > WIRE_HEAD) {
        reach_take_unread(vm->all->reach, m, slice_skip(m->body, WIRE_HEAD));
        return false;
    }
    if (m->err != 0 && m->type == MSG_FOLLOW && m->body.len > WIRE_HEAD) {
        moves_lose_follow(vm, slice_skip(m->body, WIRE_HEAD), m->err);
        return false;
    }
    if (m->err != 0 || wire_read(h, body, m->body) < 0 ||
        body->len < sizeof(struct msg_conn)) { /* the smallest of all bodies */
        log_warn("message of type %u from slot %u is unreadable", m->type,
                 m->from);
        return false;
    }
    return true;
}

void people_on_msg(struct vm *vm, const struct mesh_msg *m)
{
    struct wire_head h;
    struct slice body;

    if (!read_msg(vm, m, &h, &body))
        return;
    switch (m->type) {
    case MSG_PUBLISH:
        moves_begin_publish(vm->all->moves, m->from, m->epoch, h.counter);
        spread_take(vm, body);
        moves_end_publish(vm->all->moves);
        break;
    case MSG_EVENT:
        events_take(vm->all->events, body);
        break;
    case MSG_GROUP:
        spread_take_group(vm, body);
        break;
    case MSG_SEND_UIDS:
        reach_take_send(vm->all->reach, m, body);
        break;
    case MSG_MISSED:
        reach_take_missed(vm->all->reach, body);
        break;
    case MSG_FOLLOW:
        moves_take_follow(vm, body);
        break;
    case MSG_MOVE_END:
        moves_take_end(vm, body);
        break;
    case MSG_ABROAD:
        abroad_take_post(vm->all->abroad, body);
        break;
    case MSG_KICK:
        kicks_take(&vm->all->kicks, body);
        break;
    default:
        (void)take_for_conn(vm, m->type, body);
    }
}

void people_on_back(struct vm *vm, const struct mesh_msg *m)
{
    if (m->type == MSG_SEND) { /* its conn was there, and is no more */
        people_count_lost(vm->all->people, SD_EGONE);
    } else if (m->type == MSG_SEND_UIDS && m->body.len > WIRE_HEAD) {
        reach_on_back(vm->all->reach, slice_skip(m->body, WIRE_HEAD));
    } else if (m->type == MSG_FOLLOW && m->body.len > WIRE_HEAD) {
        moves_lose_follow(vm, slice_skip(m->body, WIRE_HEAD), SD_EOFFLINE);
    } else if (m->type == MSG_ABROAD && m->body.len > WIRE_HEAD) {
        abroad_on_back(vm->all, slice_skip(m->body, WIRE_HEAD));
    }
}

static const luaL_Reg functions[] = {
    {"send_far", l_send_far}, {"close_far", l_close_far}, {NULL, NULL}};

void bind_far(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
