/* uidcall_serve.c - see uidcall.h: the half that is called. */
#include <lauxlib.h>
#include <limits.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/frames.h"
#include "cluster/outbox.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "vm/abroad.h"
#include "vm/decode.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"
#include "vm/task_state.h"
#include "vm/uidcall.h"

enum {
    FAR = UINT_MAX
};

/* A call of somebody else's. */
struct uidcall {
    struct list link;
    double number;  /* what Lua knows it by */
    unsigned from;  /* FAR: a process of another node, as the head says */
    uint16_t epoch; /* of the caller */
    struct wire_head head;
    struct msg_uid_call call;
    struct buf body; /* uid, value */
};

void uidcalls_init(struct uidcalls *u)
{
    list_init(&u->open);
}

static void drop(struct uidcall *c)
{
    list_del(&c->link);
    buf_fini(&c->body);
    mem_free(c);
}

void uidcalls_fini(struct uidcalls *u)
{
    while (!list_empty(&u->open))
        drop(list_entry(u->open.next, struct uidcall, link));
}

void uidcalls_on_gone(struct uidcalls *u, unsigned slot, uint16_t epoch)
{
    struct list *it, *next;

    list_each_safe (it, next, &u->open) {
        struct uidcall *c = list_entry(it, struct uidcall, link);

        if (c->from == slot && c->epoch == epoch)
            drop(c);
    }
}

static int send_far(struct vm *vm, const struct uidcall *c, uint32_t kind,
                    struct slice body)
{
    struct place to = {c->head.boot, c->head.epoch, c->head.slot};

    return abroad_reply(vm->all->abroad, &to, c->head.counter, kind, body);
}

static int send_answer(struct vm *vm, const struct uidcall *c, uint16_t flags,
                       struct slice body)
{
    struct wire_head h = c->head;
    char head[WIRE_HEAD];
    struct slice v[2] = {{head, sizeof(head)}, body};

    if (c->from == FAR)
        return send_far(
            vm, c, (flags & WIRE_ERROR) != 0 ? MSG_FAR_ERROR : MSG_FAR_VALUE,
            body);
    h.type = MSG_UID_REPLY;
    h.flags = (uint16_t)(WIRE_ANSWER | flags);
    h.len = (uint32_t)body.len;
    h.epoch = (uint16_t)vm->env.epoch;
    h.slot = (uint8_t)vm->env.slot;
    wire_encode(head, &h);
    return mesh_send(vm->env.mesh, c->from, MSG_UID_REPLY, MESH_ANSWER, v, 2);
}

/* A value that has no room now is given up; its word always has. */
static void answer(struct vm *vm, struct uidcall *c, struct slice value)
{
    int rc = value.len > 0 ? send_answer(vm, c, 0, value) : SD_ECRASHED;

    if (rc < 0 && rc != SD_EGONE)
        rc = send_answer(
            vm, c, WIRE_ERROR,
            slice_str(rc == SD_ETOOLARGE ? "too_large" : "crashed"));
    if (rc < 0 && rc != SD_EGONE)
        log_error("an answer is lost (%s)", err_str(rc));
    drop(c);
}

static struct uidcall *find_call(struct vm *vm, double number)
{
    struct list *it;

    list_each (it, &vm->all->uidcalls.open) {
        struct uidcall *c = list_entry(it, struct uidcall, link);

        if (c->number == number)
            return c;
    }
    return NULL;
}

static void call_ended(struct co *co, int status)
{
    struct uidcall *c = find_call(co->vm, co->number);

    vm_log_end(co, status);
    if (c != NULL)
        answer(co->vm, c, slice_make(NULL, 0));
}

static bool read_call(struct uidcall *c, const struct mesh_msg *m)
{
    struct slice body;

    if (m->err != 0 || wire_read(&c->head, &body, m->body) < 0 ||
        body.len < sizeof(c->call))
        return false;
    memcpy(&c->call, body.p, sizeof(c->call));
    body = slice_skip(body, sizeof(c->call));
    buf_append(&c->body, body.p, body.len);
    return c->call.uid_len <= body.len && c->call.verb < MSG_UID_VERBS;
}

/* False: not enough memory. */
static bool begin(struct vm *vm, struct uidcall *c)
{
    struct co *co =
        vm_enter(vm, vm->entry[ENTRY_UID_CALLED], CO_CALL, c->head.life_ms);

    if (co == NULL)
        return false;
    c->number = (double)++vm->all->tasks->counter;
    co->number = c->number;
    co->on_end = call_ended;
    lua_pushnumber(co->L, c->number);
    co_start(co, 1);
    return true;
}

void uidcalls_take(struct vm *vm, const struct mesh_msg *m)
{
    struct uidcall *c = mem_zalloc(sizeof(*c));

    c->from = m->from;
    c->epoch = m->epoch;
    list_add(&vm->all->uidcalls.open, &c->link);
    if (m->dead || wire_decode(&c->head, m->body) < 0)
        drop(c);
    else if (!read_call(c, m) || !begin(vm, c))
        answer(vm, c, slice_make(NULL, 0));
}

/* How much of its caller's wait is left.  Its message has lived for some of the
 * life that the outbox gave it. */
static uint32_t rest_of(uint32_t ms, uint32_t life)
{
    uint32_t given = ms < OUTBOX_LIFE_MAX ? ms : OUTBOX_LIFE_MAX;
    uint32_t rest = life < given ? ms - (given - life) : ms;

    return rest > 0 ? rest : 1;
}

int uidcalls_take_far(struct vm *vm, const struct frames_data *d)
{
    struct msg_far_call call;
    struct uidcall *c;

    if (d->body.len < sizeof(call))
        return SD_EINVALID;
    memcpy(&call, d->body.p, sizeof(call));
    if (call.verb >= MSG_UID_ABROAD)
        return SD_EINVALID;
    c = mem_zalloc(sizeof(*c));
    c->from = FAR;
    c->head = d->head;
    c->head.life_ms = rest_of(call.ms, d->head.life_ms);
    c->call.verb = call.verb;
    if (d->type == FRAMES_UID) {
        c->call.uid_len = (uint32_t)d->name.len;
        buf_append(&c->body, d->name.p, d->name.len);
    }
    buf_append(&c->body, d->body.p + sizeof(call), d->body.len - sizeof(call));
    list_add(&vm->all->uidcalls.open, &c->link);
    if (d->type == FRAMES_UID) /* else it knows where it runs */
        (void)send_far(vm, c, MSG_FAR_TAKEN, slice_make(NULL, 0));
    if (begin(vm, c))
        return 0;
    drop(c);
    return SD_EBUSY; /* nothing was done */
}

/* core.uid_called(number) -> verb, uid, value, ms */
static int l_uid_called(lua_State *L)
{
    struct uidcall *c = find_call(vm_of(L), luaL_checknumber(L, 1));
    struct slice body;
    const char *why;

    if (c == NULL)
        return luaL_error(L, "no call at hand");
    body = buf_slice(&c->body);
    lua_pushstring(L, uidcall_verbs[c->call.verb]);
    lua_pushlstring(L, body.p, c->call.uid_len);
    if (decode_msgpack(L, slice_skip(body, c->call.uid_len), &why) < 0)
        return luaL_error(L, "call is unreadable: %s", why);
    lua_pushnumber(L, c->head.life_ms);
    return 4;
}

/* core.uid_answer(number, {result, err, code}) */
static int l_uid_answer(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct uidcall *c = find_call(vm, luaL_checknumber(L, 1));
    const char *why;

    buf_truncate(&vm->scratch, 0);
    if (lua_msgpack_encode(L, 2, &vm->scratch, &why) < 0)
        return luaL_error(L, "answer: %s", why);
    if (c != NULL)
        answer(vm, c, buf_slice(&vm->scratch));
    return 0;
}

static const luaL_Reg functions[] = {
    {"uid_called", l_uid_called},
    {"uid_answer", l_uid_answer},
    {NULL, NULL},
};

void bind_uidcall_serve(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
