/* event.c - see event.h.
 *
 * An event comes from a script of ours, from another worker or a task of the
 * node, or from another node; of each kind the queue here gets a copy.  The
 * serving vm is woken once (ENTRY_EVENTS) and fetches one after the other, as
 * long as it has not too many handlers at work: lua/sd/event.lua.  One that
 * fails at that, for want of memory, is woken again a little later.
 *
 * A task process has no handlers and no links.  What it emits to the whole
 * cluster goes the way of all that it sends to other nodes. */
#include "vm/event.h"

#include <lauxlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "loop/timer.h"
#include "vm/abroad.h"
#include "vm/lua_msgpack.h"
#include "vm/spread.h"
#include "vm/state.h"

enum {
    EVENTS_MAX = 65536,
    BYTES_MAX = 32 << 20, /* seven of the largest fit */
    NAME_MAX_LENGTH = 256,
    PER_MESSAGE = 256,    /* bytes, at most, by which a task's is longer */
    WAKE_AGAIN = 100,     /* ms */
    COMPLAIN_AGAIN = 1000 /* ms */
};

struct event {
    struct list link;
    struct buf body; /* of MSG_EVENT */
};

struct events {
    struct vms *all;
    struct list queue;
    unsigned n;
    size_t bytes;
    bool is_told;       /* the serving vm fetches */
    struct timer again; /* ... and has failed */
    unsigned lost;
    uint64_t complained;
};

static void on_again(struct timer *t)
{
    list_entry(t, struct events, again)->is_told = false;
}

struct events *events_new(struct vms *all)
{
    struct events *e = mem_zalloc(sizeof(*e));

    e->all = all;
    e->again.fn = on_again;
    list_init(&e->queue);
    return e;
}

/* --- the queue ------------------------------------------------------------ */

static bool has_room(const struct events *e, size_t len)
{
    return e->n < EVENTS_MAX && e->bytes + len <= BYTES_MAX;
}

static void drop_first(struct events *e)
{
    struct event *ev = list_entry(e->queue.next, struct event, link);

    list_del(&ev->link);
    e->n--;
    e->bytes -= ev->body.len;
    buf_fini(&ev->body);
    mem_free(ev);
}

void events_free(struct events **ep)
{
    timer_stop((*ep)->all->env.loop, &(*ep)->again);
    while (!list_empty(&(*ep)->queue))
        drop_first(*ep);
    mem_free(*ep);
    *ep = NULL;
}

static void complain(struct events *e, const char *why)
{
    uint64_t now = clock_ms();

    e->lost++;
    if (now - e->complained < COMPLAIN_AGAIN)
        return;
    log_warn("%u events were lost: %s", e->lost, why);
    e->complained = now;
    e->lost = 0;
}

static void add(struct events *e, const struct slice *v, unsigned n)
{
    struct event *ev = mem_zalloc(sizeof(*ev));

    for (unsigned i = 0; i < n; i++)
        buf_append(&ev->body, v[i].p, v[i].len);
    list_add(&e->queue, &ev->link);
    e->n++;
    e->bytes += ev->body.len;
}

/* --- out ------------------------------------------------------------------ */

/* A task's goes to a worker, which sends it on (abroad_post.c). */
static bool gives_on(const struct vm *vm, bool is_cluster)
{
    return is_cluster && vm->env.role == VM_TASK && vm->all->abroad != NULL;
}

/* v: head, name, node, value.  All or nobody is told. */
static int emit(struct vm *vm, const struct slice *v, bool is_cluster)
{
    struct slice all[5] = {{NULL, 0}, v[0], v[1], v[2], v[3]};
    size_t len = v[0].len + v[1].len + v[2].len + v[3].len;
    struct events *e = vm->all->events;
    int rc = len > WIRE_BODY_MAX / 2 ? SD_ETOOLARGE : 0;

    if (rc == 0 && vm->env.role == VM_WORKER && !has_room(e, len))
        rc = SD_EBUSY;
    if (rc == 0)
        rc = spread_fits(vm, len + PER_MESSAGE, gives_on(vm, is_cluster));
    if (rc == 0 && is_cluster)
        rc = abroad_event(vm->all->abroad, v, 4);
    if (rc == 0)
        rc = spread_message(vm, SPREAD_EVERY_WORKER, MSG_EVENT, all, 5);
    if (rc == 0 && vm->env.role == VM_WORKER)
        add(e, v, 4);
    return rc;
}

static struct slice check_slice(lua_State *L, int idx)
{
    struct slice s;

    s.p = luaL_checklstring(L, idx, &s.len);
    return s;
}

/* core.emit(name, value, cluster) -> true, or nil, word */
static int l_emit(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct slice name = check_slice(L, 1), node = slice_str(vm->env.node);
    struct msg_event m = {.name_len = (uint32_t)name.len,
                          .node_len = (uint32_t)node.len};
    struct slice v[4] = {{(const char *)&m, sizeof(m)}, name, node, {NULL, 0}};
    const char *why;
    int rc;

    if (name.len == 0 || name.len > NAME_MAX_LENGTH)
        return co_raise(L, "bad name of an event (1 to %d bytes expected)",
                        NAME_MAX_LENGTH);
    lua_settop(L, 3);
    buf_truncate(&vm->scratch, 0);
    if (lua_msgpack_encode(L, 2, &vm->scratch, &why) < 0)
        return co_raise(L, "cannot emit: %s", why);
    v[3] = buf_slice(&vm->scratch);
    rc = emit(vm, v, lua_toboolean(L, 3) != 0);
    if (rc == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err_word(rc));
    return 2;
}

/* --- in ------------------------------------------------------------------- */

/* What is behind the head, whose lengths fit; false: they do not. */
static bool read_head(struct msg_event *m, struct slice body)
{
    if (body.len < sizeof(*m))
        return false;
    memcpy(m, body.p, sizeof(*m));
    body = slice_skip(body, sizeof(*m));
    return m->name_len <= body.len && m->node_len <= body.len - m->name_len;
}

int events_take_far(struct events *e, struct slice body)
{
    struct msg_event m;

    if (!read_head(&m, body))
        return SD_EINVALID;
    if (!has_room(e, body.len)) {
        complain(e, "their handlers are too slow");
        return SD_EBUSY;
    }
    add(e, &body, 1);
    return 0;
}

void events_take(struct events *e, struct slice body)
{
    if (events_take_far(e, body) == SD_EINVALID)
        log_warn("an event that is none was dropped");
}

static bool may_serve(const struct events *e, const struct vm *vm)
{
    return vm == vms_now(e->all) && vm->state == VM_SERVING &&
           !e->all->is_switching;
}

static void pump_ended(struct co *co, int status)
{
    struct events *e = co->vm->all->events;

    vm_log_end(co, status);
    if (status != 0)
        timer_start(e->all->env.loop, &e->again, WAKE_AGAIN);
}

bool events_turn(struct events *e)
{
    struct vm *vm = vms_now(e->all);
    struct co *co;

    if (e->n == 0 || e->is_told || vm == NULL || !may_serve(e, vm))
        return false;
    co = vm_enter(vm, vm->entry[ENTRY_EVENTS], CO_WORK, 0);
    if (co == NULL)
        return false;
    e->is_told = true;
    co->on_end = pump_ended;
    co_ready(co, 0);
    return true;
}

void events_switched(struct events *e)
{
    e->is_told = false;
}

/* core.next_event() -> name, msgpack of the value, node, until
 * core.end_event(); nothing: there is none, or it is another vm's */
static int l_next_event(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct events *e = vm->all->events;
    struct msg_event m;
    struct slice body;

    if (!may_serve(e, vm))
        return 0;
    if (e->n == 0) {
        e->is_told = false;
        return 0;
    }
    body = buf_slice(&list_entry(e->queue.next, struct event, link)->body);
    sd_assert(read_head(&m, body)); /* it was looked at when it came */
    body = slice_skip(body, sizeof(m));
    lua_pushlstring(L, body.p, m.name_len);
    body = slice_skip(body, m.name_len);
    lua_pushlstring(L, slice_skip(body, m.node_len).p, body.len - m.node_len);
    lua_pushlstring(L, body.p, m.node_len);
    return 3;
}

/* core.end_event(): all its handlers have been started */
static int l_end_event(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct events *e = vm->all->events;

    if (may_serve(e, vm) && e->n > 0)
        drop_first(e);
    return 0;
}

/* core.wake_events(): look for them again, in the next turn */
static int l_wake_events(lua_State *L)
{
    vm_of(L)->all->events->is_told = false;
    return 0;
}

static const luaL_Reg functions[] = {
    {"emit", l_emit},
    {"next_event", l_next_event},
    {"end_event", l_end_event},
    {"wake_events", l_wake_events},
    {NULL, NULL},
};

void bind_event(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
