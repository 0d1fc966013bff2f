/* reach.c - see reach.h.
 *
 * A send is all or nothing: room is looked for in every ring first, so that
 * "busy" means that nobody got it.
 *
 * A uid travels with a byte that says whether we sent for it to one worker
 * only: then that worker reports when it has no conn of the uid any more.
 * With several, one of them has delivered it, most likely, and a report would
 * be wrong. */
#include "vm/reach.h"

#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "vm/deliver.h"
#include "vm/letter.h"
#include "vm/lua_msgpack.h"
#include "vm/people.h"
#include "vm/task_state.h"

enum {
    LIST_KEEP = 4096,      /* larger lists of uids are given back */
    UNDELIVERED_MAX = 1024,         /* values that wait to be told of */
    UNDELIVERED_BYTES = 8388608 * 2 /* with their uids; one of the largest fits */
};

/* The uids that one worker is told of. */
struct uid_list {
    struct buf text; /* of each: length, flag, bytes */
    bool is_used;
};

/* What reached nobody, until the hook has it. */
struct undelivered {
    struct list link;
    struct buf uids; /* of each: length, -error code / 1, bytes */
    struct buf value;
};

struct reach {
    struct vm *vm;
    unsigned n; /* slots */
    struct uid_list *to;
    unsigned *used; /* slots of the lists in use */
    unsigned nused;
    unsigned *found; /* of one uid */
    unsigned nfound;
    struct list undelivered;
    unsigned nundelivered;
    size_t undelivered_bytes;
};

struct reach *reach_new(struct vm *vm)
{
    struct reach *r = mem_zalloc(sizeof(*r));

    r->vm = vm;
    if (vm->env.mesh != NULL)
        r->n = slots_count(mesh_slots(vm->env.mesh));
    r->to = mem_zalloc((r->n + 1) * sizeof(*r->to));
    r->used = mem_zalloc((r->n + 1) * sizeof(*r->used));
    r->found = mem_zalloc((r->n + 1) * sizeof(*r->found));
    list_init(&r->undelivered);
    return r;
}

static struct undelivered *take_undelivered(struct reach *r)
{
    struct undelivered *u;

    if (list_empty(&r->undelivered))
        return NULL;
    u = list_entry(r->undelivered.next, struct undelivered, link);
    list_del(&u->link);
    r->nundelivered--;
    r->undelivered_bytes -= u->uids.len + u->value.len;
    return u;
}

static void drop_undelivered(struct undelivered *u)
{
    buf_fini(&u->uids);
    buf_fini(&u->value);
    mem_free(u);
}

void reach_free(struct reach **rp)
{
    struct reach *r = *rp;
    struct undelivered *u;

    while ((u = take_undelivered(r)) != NULL)
        drop_undelivered(u);
    for (unsigned i = 0; i < r->n; i++)
        buf_fini(&r->to[i].text);
    mem_free(r->to);
    mem_free(r->used);
    mem_free(r->found);
    mem_free(r);
    *rp = NULL;
}

/* --- lists of uids ------------------------------------------------------------ */

/* `tag` is a flag or an error; uids have at most 128 bytes. */
static void add_uid(struct buf *list, struct slice uid, unsigned tag)
{
    char head[2] = {(char)uid.len, (char)tag};

    buf_append(list, head, sizeof(head));
    buf_append(list, uid.p, uid.len);
}

/* The next of a list; false: that was all, or the rest makes no sense. */
static bool next_uid(struct slice *list, struct slice *uid, unsigned *tag)
{
    size_t len;

    if (list->len < 2)
        return false;
    len = (unsigned char)list->p[0];
    if (len > list->len - 2)
        return false;
    *tag = (unsigned char)list->p[1];
    *uid = slice_make(list->p + 2, len);
    *list = slice_skip(*list, len + 2);
    return true;
}

/* --- what reaches nobody ------------------------------------------------------ */

/* Tags are the distance of an error from the first one that has a word. */
static unsigned tag_of(int err)
{
    return (unsigned)(SD_EINVALID - err);
}

static int err_of(unsigned tag)
{
    return SD_EINVALID - (int)tag;
}

/* Is there room to keep so much until the hook has it?  A client that goes
 * with a full queue, or many of them, would fill the memory else. */
static bool may_report(const struct reach *r, size_t bytes)
{
    if (r->nundelivered < UNDELIVERED_MAX &&
        r->undelivered_bytes + bytes <= UNDELIVERED_BYTES)
        return true;
    log_warn("on_undeliverable is not told of all: too much waits for it");
    return false;
}

/* One more value, for a hook of its own. */
static void add_undelivered(struct reach *r, struct slice uids,
                            struct slice value)
{
    struct vm *vm = r->vm;
    struct co *co = vm_enter(vm, vm->entry[ENTRY_UNDELIVERED], CO_CALL,
                             vm->env.conf->server.call_timeout);
    struct undelivered *u;

    if (co == NULL)
        return;
    u = mem_zalloc(sizeof(*u));
    buf_append(&u->uids, uids.p, uids.len);
    buf_append(&u->value, value.p, value.len);
    list_add(&r->undelivered, &u->link);
    r->nundelivered++;
    r->undelivered_bytes += uids.len + value.len;
    co->on_end = vm_log_end;
    co_ready(co, 0);
}

static void report(struct reach *r, struct slice uids, struct slice value)
{
    struct undelivered *last = NULL;

    if (uids.len == 0 || !r->vm->has_undeliverable_hook)
        return;
    if (!list_empty(&r->undelivered))
        last = list_entry(r->undelivered.prev, struct undelivered, link);
    if (last != NULL && !slice_eq(buf_slice(&last->value), value))
        last = NULL;
    if (!may_report(r, uids.len + (last == NULL ? value.len : 0)))
        return;
    if (last == NULL) {
        add_undelivered(r, uids, value);
        return;
    }
    buf_append(&last->uids, uids.p, uids.len); /* one value for many of them */
    r->undelivered_bytes += uids.len;
}

/* core.undelivered() -> value, {uid, word, uid, word ...} */
static int l_undelivered(lua_State *L)
{
    struct reach *r = vm_of(L)->reach;
    struct undelivered *u;
    struct slice list, uid;
    const char *why;
    unsigned tag;
    int n = 0;

    if (list_empty(&r->undelivered))
        return 0;
    u = list_entry(r->undelivered.next, struct undelivered, link);
    if (lua_msgpack_decode(L, buf_slice(&u->value), &why) < 0)
        lua_pushnil(L);
    lua_newtable(L);
    list = buf_slice(&u->uids);
    while (next_uid(&list, &uid, &tag)) {
        lua_pushlstring(L, uid.p, uid.len);
        lua_rawseti(L, -2, ++n);
        lua_pushstring(L, err_word(err_of(tag)));
        lua_rawseti(L, -2, ++n);
    }
    drop_undelivered(take_undelivered(r));
    return 2;
}

void reach_dropped(struct reach *r, struct slice uid, struct slice value)
{
    struct buf list = {0};

    if (uid.len == 0)
        return;
    add_uid(&list, uid, tag_of(SD_ESLOW));
    report(r, buf_slice(&list), value);
    buf_fini(&list);
}

/* --- sends -------------------------------------------------------------------- */

void reach_begin(struct reach *r)
{
    for (unsigned i = 0; i < r->nused; i++) {
        struct uid_list *to = &r->to[r->used[i]];

        to->is_used = false;
        if (to->text.cap > LIST_KEEP)
            buf_fini(&to->text);
        else
            buf_truncate(&to->text, 0);
    }
    r->nused = 0;
}

static bool on_found(void *arg, const struct uidmap_binding *b)
{
    struct reach *r = arg;

    for (unsigned i = 0; i < r->nfound; i++) {
        if (r->found[i] == b->slot)
            return true;
    }
    if (b->slot < r->n)
        r->found[r->nfound++] = b->slot;
    return true;
}

bool reach_add(struct reach *r, struct slice uid)
{
    bool is_far = false;

    r->nfound = 0;
    if (r->vm->env.uids != NULL)
        uidmap_find(r->vm->env.uids, uid, on_found, r);
    for (unsigned i = 0; i < r->nfound; i++) {
        struct uid_list *to = &r->to[r->found[i]];

        if (r->found[i] == r->vm->env.slot)
            continue;
        if (!to->is_used)
            r->used[r->nused++] = r->found[i];
        to->is_used = is_far = true;
        add_uid(&to->text, uid, r->nfound == 1);
    }
    return is_far;
}

static int find_room(const struct reach *r, size_t len)
{
    for (unsigned i = 0; i < r->nused; i++) {
        size_t all = WIRE_HEAD + len + r->to[r->used[i]].text.len;

        if (all > WIRE_HEAD + WIRE_BODY_MAX)
            return SD_ETOOLARGE;
        /* Gone: it was filled anew since the mesh has looked. */
        if (mesh_room(r->vm->env.mesh, r->used[i], all) < 0)
            return SD_EBUSY;
    }
    return 0;
}

/* 0 when one of its conns took it. */
static int send_here(struct deliver *d, struct slice uid)
{
    struct uids_binding *b = uids_first(d->vm->people->uids, uid);
    int rc = SD_EGONE, one;

    for (; b != NULL; b = uids_next(b)) {
        one = deliver_to(d, list_entry(b, struct member, binding)->conn);
        rc = rc == 0 ? 0 : one;
    }
    return rc;
}

/* The list in use, for one slot. */
static int send_list(struct reach *r, const struct deliver *d, unsigned slot)
{
    struct slice uids = buf_slice(&r->to[slot].text);
    struct msg_uids m = {(uint32_t)uids.len, d->is_volatile, d->key};
    struct slice v[4] = {
        {NULL, 0}, {(const char *)&m, sizeof(m)}, uids, d->value};

    return letter_send(r->vm, slot, MSG_SEND_UIDS, v, 4);
}

/* Nobody reads this list: those who were there only were not reached.  Where
 * they are by now does not matter: what was sent to them later may be there
 * already, and order is kept. */
static void report_lost(struct reach *r, struct slice list, struct slice value,
                        int rc)
{
    struct buf lost = {0};
    struct slice uid;
    unsigned is_only;

    while (next_uid(&list, &uid, &is_only)) {
        people_count_lost(r->vm->people, rc);
        if (is_only != 0)
            add_uid(&lost, uid, tag_of(rc));
    }
    report(r, buf_slice(&lost), value);
    buf_fini(&lost);
}

int reach_send(struct reach *r, const struct deliver *d)
{
    int rc = find_room(r, sizeof(struct msg_uids) + d->value.len);

    for (unsigned i = 0; i < r->nused && rc == 0; i++) {
        int one = send_list(r, d, r->used[i]);

        if (one < 0)
            report_lost(r, buf_slice(&r->to[r->used[i]].text), d->value,
                        one == SD_EGONE ? SD_EOFFLINE : one);
    }
    return rc;
}

static bool open_uids(struct slice body, struct msg_uids *m, struct slice *uids,
                      struct slice *value)
{
    if (body.len < sizeof(*m))
        return false;
    memcpy(m, body.p, sizeof(*m));
    body = slice_skip(body, sizeof(*m));
    if (m->uids_len > body.len)
        return false;
    *uids = slice_make(body.p, m->uids_len);
    *value = slice_skip(body, m->uids_len);
    return true;
}

void reach_take_send(struct reach *r, struct slice body)
{
    struct slice uids, value, uid;
    struct buf lost = {0};
    struct msg_uids m;
    struct deliver d;
    unsigned is_only;

    if (!open_uids(body, &m, &uids, &value))
        return;
    deliver_begin(&d, r->vm, r->vm->L, value);
    d.is_volatile = m.is_volatile != 0;
    d.key = m.key;
    while (next_uid(&uids, &uid, &is_only)) {
        int rc = send_here(&d, uid);

        if (rc < 0 && is_only != 0 && !(rc == SD_ESLOW && d.is_volatile))
            add_uid(&lost, uid, tag_of(rc));
    }
    deliver_end(&d);
    report(r, buf_slice(&lost), value);
    buf_fini(&lost);
}

void reach_on_lost(struct reach *r, struct slice body, int rc)
{
    struct slice uids, value;
    struct msg_uids m;

    if (open_uids(body, &m, &uids, &value))
        report_lost(r, uids, value, rc);
    else
        log_warn("a send to uids is lost with its list: %s", err_str(rc));
}

static const luaL_Reg functions[] = {{"undelivered", l_undelivered},
                                     {NULL, NULL}};

void bind_reach(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
