/* undelivered.c - see undelivered.h. */
#include "vm/undelivered.h"

#include <lauxlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "vm/decode.h"
#include "vm/reach.h"
#include "vm/state.h"
#include "vm/uidlist.h"

enum {
    VALUES_MAX = 1024,
    BYTES_MAX = 16 << 20 /* with their uids; one of the largest values fits */
};

/* One value. */
struct missed {
    struct list link;
    struct buf uids; /* with the distance of their error from SD_EINVALID */
    struct buf value;
};

void undelivered_init(struct undelivered *u, struct vms *all)
{
    *u = (struct undelivered){.all = all};
    list_init(&u->values);
}

/* The oldest; NULL: none.  The caller's. */
static struct missed *take(struct undelivered *u)
{
    struct missed *m;

    if (list_empty(&u->values))
        return NULL;
    m = list_entry(u->values.next, struct missed, link);
    list_del(&m->link);
    u->n--;
    u->bytes -= m->uids.len + m->value.len;
    return m;
}

static void drop(struct missed *m)
{
    buf_fini(&m->uids);
    buf_fini(&m->value);
    mem_free(m);
}

void undelivered_fini(struct undelivered *u)
{
    struct missed *m;

    while ((m = take(u)) != NULL)
        drop(m);
}

void undelivered_add(struct buf *missed, struct slice uid, int err)
{
    uidlist_add(missed, uid, (unsigned)(SD_EINVALID - err));
}

/* Is there room to keep so much until the hook has it?  A client that goes
 * with a full queue, or many of them, would fill the memory else. */
static bool may_keep(const struct undelivered *u, size_t bytes)
{
    if (u->n < VALUES_MAX && u->bytes + bytes <= BYTES_MAX)
        return true;
    log_warn("on_undeliverable is not told of all: too much waits for it");
    return false;
}

/* One more value, with a run of the hook. */
static void keep(struct undelivered *u, struct slice uids, struct slice value)
{
    struct vm *vm = vms_now(u->all);
    struct co *co = vm_enter(vm, vm->entry[ENTRY_UNDELIVERED], CO_CALL,
                             vm->env.conf->server.call_timeout);
    struct missed *m;

    if (co == NULL)
        return;
    m = mem_zalloc(sizeof(*m));
    buf_append(&m->uids, uids.p, uids.len);
    buf_append(&m->value, value.p, value.len);
    list_add(&u->values, &m->link);
    u->n++;
    u->bytes += uids.len + value.len;
    co->on_end = vm_log_end;
    co_ready(co, 0);
}

/* What waits last, if it is the same value. */
static struct missed *same_value(const struct undelivered *u,
                                 struct slice value)
{
    struct missed *last;

    if (u->n == 0)
        return NULL;
    last = list_entry(u->values.prev, struct missed, link);
    return slice_eq(buf_slice(&last->value), value) ? last : NULL;
}

void undelivered_tell(struct undelivered *u, struct slice missed,
                      struct slice value)
{
    struct missed *last;

    if (missed.len == 0 || !vms_now(u->all)->has_undeliverable_hook)
        return;
    last = same_value(u, value);
    if (!may_keep(u, missed.len + (last == NULL ? value.len : 0)))
        return;
    if (last == NULL) {
        keep(u, missed, value);
        return;
    }
    buf_append(&last->uids, missed.p, missed.len);
    u->bytes += missed.len;
}

void undelivered_tell_one(struct undelivered *u, struct slice uid, int err,
                          struct slice value)
{
    struct buf missed = {0};

    if (uid.len == 0)
        return;
    undelivered_add(&missed, uid, err);
    undelivered_tell(u, buf_slice(&missed), value);
    buf_fini(&missed);
}

/* core.undelivered() -> value, {uid, word, uid, word ...} */
static int l_undelivered(lua_State *L)
{
    struct undelivered *u = reach_undelivered(vm_of(L)->all->reach);
    struct slice list, uid;
    struct missed *m;
    const char *why;
    unsigned tag;
    int n = 0;

    if (u->n == 0)
        return 0;
    m = list_entry(u->values.next, struct missed, link);
    if (decode_msgpack(L, buf_slice(&m->value), &why) < 0)
        lua_pushnil(L);
    lua_newtable(L);
    list = buf_slice(&m->uids);
    while (uidlist_next(&list, &uid, &tag)) {
        lua_pushlstring(L, uid.p, uid.len);
        lua_rawseti(L, -2, ++n);
        lua_pushstring(L, err_word(SD_EINVALID - (int)tag));
        lua_rawseti(L, -2, ++n);
    }
    drop(take(u)); /* not before: what is above may raise */
    return 2;
}

static const luaL_Reg functions[] = {{"undelivered", l_undelivered},
                                     {NULL, NULL}};

void bind_undelivered(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
