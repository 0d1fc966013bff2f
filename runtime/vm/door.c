/* door.c - see door.h.
 *
 * What a back end asks for is what a script could, so a script does it:
 * lua/sd/door.lua reads the JSON, calls the sd module and writes the JSON of
 * the answer.  Each request gets exactly one answer, also when its coroutine
 * ends in an error. */
#include "vm/door.h"

#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "vm/state.h"

enum {
    VERB_MAX = 16
};

struct door {
    struct list link;
    struct doors *doors;
    double number; /* what Lua knows it by */
    unsigned from;
    bool is_orphan;
    uint16_t epoch; /* of `from` */
    struct wire_head head;
    struct buf text; /* JSON, until Lua has taken it */
    char verb[VERB_MAX];
};

struct doors {
    struct vms *all;
    struct list open;
    double last;
};

struct doors *doors_new(struct vms *all)
{
    struct doors *d = mem_zalloc(sizeof(*d));

    d->all = all;
    list_init(&d->open);
    return d;
}

static void forget(struct door *d)
{
    list_del(&d->link);
    buf_fini(&d->text);
    mem_free(d);
}

void doors_free(struct doors **dp)
{
    struct doors *ds = *dp;

    while (ds != NULL && !list_empty(&ds->open))
        forget(list_entry(ds->open.next, struct door, link));
    mem_free(ds);
    *dp = NULL;
}

static int send_answer(const struct door *d, int status, struct slice text)
{
    struct vms *all = d->doors->all;
    struct msg_door_reply reply = {.status = status};
    struct wire_head h = d->head;
    char head[WIRE_HEAD];
    struct slice v[3] = {
        {head, sizeof(head)}, {(const char *)&reply, sizeof(reply)}, text};

    h.type = MSG_DOOR_REPLY;
    h.flags = WIRE_ANSWER;
    h.len = (uint32_t)(sizeof(reply) + text.len);
    h.epoch = (uint16_t)all->env.epoch;
    h.slot = (uint8_t)all->env.slot;
    wire_encode(head, &h);
    return mesh_send(all->env.mesh, d->from, MSG_DOOR_REPLY, MESH_ANSWER, v, 3);
}

/* A short answer always has room. */
static void answer(struct door *d, int status, struct slice text)
{
    int rc = 0;

    if (!d->is_orphan && text.len <= WIRE_BODY_MAX / 2)
        rc = send_answer(d, status, text);
    else if (!d->is_orphan)
        rc = SD_ETOOLARGE;
    if (rc < 0 && rc != SD_EGONE)
        rc = send_answer(d, err_status(err_word(rc)), slice_make("", 0));
    if (rc < 0 && rc != SD_EGONE)
        log_error("the answer to a back end is lost: %s", err_str(rc));
    forget(d);
}

static struct door *find(struct doors *ds, double number)
{
    struct list *it;

    list_each (it, &ds->open) {
        struct door *d = list_entry(it, struct door, link);

        if (d->number == number)
            return d;
    }
    return NULL;
}

static void run_ended(struct co *co, int status)
{
    struct door *d = find(co->vm->all->doors, co->number);

    if (status != 0)
        log_error("request of a back end: %s", co_error_text(co->L));
    if (d != NULL)
        answer(d, 500, slice_make("", 0));
}

static struct door *take(struct doors *ds, const struct mesh_msg *m)
{
    struct door *d = mem_zalloc(sizeof(*d));

    d->doors = ds;
    d->number = ++ds->last;
    d->from = m->from;
    d->epoch = m->epoch;
    d->is_orphan = m->dead;
    list_add(&ds->open, &d->link);
    return d;
}

void doors_on_msg(struct vm *vm, const struct mesh_msg *m)
{
    struct msg_door request;
    struct slice body;
    struct door *d;
    struct co *co = NULL;
    struct wire_head h;

    if (wire_decode(&h, m->body) < 0)
        return;
    d = take(vm->all->doors, m);
    d->head = h;
    if (m->err < 0 || wire_read(&h, &body, m->body) < 0 ||
        body.len < sizeof(request)) {
        answer(d, 502, slice_make("", 0));
        return;
    }
    memcpy(&request, body.p, sizeof(request));
    body = slice_skip(body, sizeof(request));
    memcpy(d->verb, request.verb, VERB_MAX - 1);
    buf_append(&d->text, body.p, body.len);
    co = vm_enter(vm, vm->entry[ENTRY_DOOR], CO_CALL, h.life_ms);
    if (co == NULL) {
        answer(d, 503, slice_make("", 0));
        return;
    }
    co->number = d->number;
    co->on_end = run_ended;
    lua_pushnumber(co->L, d->number);
    co_start(co, 1);
}

void doors_on_gone(struct vms *all, unsigned slot, uint16_t epoch)
{
    struct list *it;

    list_each (it, &all->doors->open) {
        struct door *d = list_entry(it, struct door, link);

        d->is_orphan |= d->from == slot && d->epoch == epoch;
    }
}

/* core.door_take(number) -> verb, json */
static int l_take(lua_State *L)
{
    struct door *d = find(vm_of(L)->all->doors, luaL_checknumber(L, 1));
    struct slice text;

    if (d == NULL)
        return 0;
    text = buf_slice(&d->text);
    lua_pushstring(L, d->verb);
    lua_pushlstring(L, text.p, text.len);
    buf_fini(&d->text);
    return 2;
}

/* core.door_reply(number, status, json) */
static int l_reply(lua_State *L)
{
    struct door *d = find(vm_of(L)->all->doors, luaL_checknumber(L, 1));
    int status = (int)luaL_checkinteger(L, 2);
    struct slice text;

    text.p = luaL_checklstring(L, 3, &text.len);
    if (d != NULL)
        answer(d, status, text);
    return 0;
}

static const luaL_Reg functions[] = {
    {"door_take", l_take}, {"door_reply", l_reply}, {NULL, NULL}};

void bind_door(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
