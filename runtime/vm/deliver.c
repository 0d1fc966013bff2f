/* deliver.c - see deliver.h.
 *
 * Packs built in need no Lua: msgpack goes out as it is, JSON is transcoded,
 * raw takes the string's bytes.  A script's encode() runs protected; one that
 * fails makes the push undeliverable for its conns, and only for them. */
#include "vm/deliver.h"

#include <lauxlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/msgpack.h"
#include "codec/transcode.h"
#include "net/conn.h"
#include "net/push.h"
#include "vm/decode.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/state.h"
#include "vm/watchdog.h"

/* The value of the running fan-out, for one pack. */
struct encoded {
    uint64_t serial; /* of the fan-out it was made for */
    int rc;
    struct buf bytes;
};

/* Its bytes as one port wants them; twice a port, like packs. */
struct framed {
    uint64_t serial;
    unsigned format; /* of the conns it is for */
    int rc;
    struct push push;
};

struct deliveries {
    bool is_busy;
    uint64_t serial;
    struct buf value; /* when it is of this vm */
    struct framed *framed;
    unsigned nframed;
    unsigned n;
    struct encoded pack[];
};

enum {
    KEEP_BYTES = 65536 /* larger buffers are given back after a fan-out */
};

struct deliveries *deliveries_new(unsigned npacks, unsigned nports)
{
    struct deliveries *ds =
        mem_zalloc(sizeof(*ds) + npacks * sizeof(struct encoded));

    ds->n = npacks;
    ds->nframed = 2 * nports;
    ds->framed = mem_zalloc((ds->nframed + 1) * sizeof(*ds->framed));
    return ds;
}

void deliveries_free(struct deliveries **dp)
{
    struct deliveries *ds = *dp;
    unsigned i;

    *dp = NULL;
    if (ds == NULL)
        return;
    for (i = 0; i < ds->n; i++)
        buf_fini(&ds->pack[i].bytes);
    for (i = 0; i < ds->nframed; i++)
        push_fini(&ds->framed[i].push);
    buf_fini(&ds->value);
    mem_free(ds->framed);
    mem_free(ds);
}

void deliveries_grow(struct deliveries **dp, unsigned npacks)
{
    struct deliveries *ds = *dp;

    sd_assert(!ds->is_busy);
    if (npacks <= ds->n)
        return;
    ds = mem_realloc(ds, sizeof(*ds) + npacks * sizeof(struct encoded));
    memset(&ds->pack[ds->n], 0, (npacks - ds->n) * sizeof(struct encoded));
    ds->n = npacks;
    *dp = ds;
}

uint64_t deliver_key(const struct vm *vm, struct slice conflate)
{
    struct hash_key key = {vm->env.boot, ~vm->env.boot};
    uint64_t h = hash_bytes(&key, conflate);

    return h != 0 ? h : 1;
}

struct buf *deliver_value(struct vm *vm)
{
    struct deliveries *ds = vm->deliveries;

    if (ds->is_busy)
        return NULL;
    buf_truncate(&ds->value, 0);
    return &ds->value;
}

void deliver_check_idle(lua_State *L)
{
    if (vm_of(L)->deliveries->is_busy)
        co_raise(L, "encode() of a pack may not change who is who");
}

void deliver_begin(struct deliver *d, struct vm *vm, lua_State *L,
                   struct slice value)
{
    sd_assert(!vm->deliveries->is_busy);
    vm->deliveries->is_busy = true;
    vm->deliveries->serial++;
    *d = (struct deliver){.vm = vm, .L = L, .value = value};
}

void deliver_end(struct deliver *d)
{
    struct deliveries *ds = d->vm->deliveries;
    unsigned i;

    ds->is_busy = false;
    for (i = 0; i < ds->nframed; i++)
        push_end(&ds->framed[i].push);
    if (ds->value.cap > KEEP_BYTES)
        buf_fini(&ds->value);
    for (i = 0; i < ds->n; i++) {
        if (ds->pack[i].bytes.cap > KEEP_BYTES)
            buf_fini(&ds->pack[i].bytes);
    }
}

static int encode_raw(struct buf *out, struct slice value)
{
    struct msgpack m;

    msgpack_init(&m, value);
    if (!msgpack_is_text(msgpack_next(&m)))
        return SD_EINVALID;
    buf_append(out, m.text.p, m.text.len);
    return 0;
}

struct script_encode {
    const struct vm_pack *pack;
    struct slice value;
    struct buf *out;
    const char *why;
};

/* pcall'ed */
static int script_encode(lua_State *L)
{
    struct script_encode *s = lua_touserdata(L, 1);

    struct slice bytes;

    lua_rawgeti(L, LUA_REGISTRYINDEX, s->pack->encode);
    if (decode_msgpack(L, s->value, &s->why) < 0)
        return 0;
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
        return luaL_error(L, "gave no string");
    bytes.p = lua_tolstring(L, -1, &bytes.len);
    buf_append(s->out, bytes.p, bytes.len);
    s->why = NULL;
    return 0;
}

static int encode_script(lua_State *L, const struct vm_pack *pack,
                         struct buf *out, struct slice value)
{
    struct script_encode s = {pack, value, out, ""};

    int rc;

    watchdog_enter(L, vm_of(L)->max_run);
    rc = lua_cpcall(L, script_encode, &s);
    watchdog_leave();
    if (rc != 0) {
        log_error("encode of a pack: %s", co_error_text(L));
        lua_pop(L, 1);
        return SD_EINVALID;
    }
    return s.why == NULL ? 0 : SD_EINVALID;
}

static int encode(struct deliver *d, const struct vm_pack *pack,
                  struct buf *out)
{
    switch (pack->kind) {
    case PACK_JSON:
        return transcode_json(out, d->value, NULL);
    case PACK_MSGPACK:
        buf_append(out, d->value.p, d->value.len);
        return 0;
    case PACK_RAW:
        return encode_raw(out, d->value);
    case PACK_GONE:
        return SD_EINVALID;
    case PACK_SCRIPT:
        break;
    }
    return encode_script(d->L, pack, out, d->value);
}

/* The bytes for a pack, made when they are first asked for. */
static struct encoded *encoded_for(struct deliver *d,
                                   const struct vm_pack *pack)
{
    struct deliveries *ds = d->vm->deliveries;
    struct encoded *e = &ds->pack[pack->id];

    sd_assert(pack->id < ds->n);
    if (e->serial != ds->serial) {
        buf_truncate(&e->bytes, 0);
        e->rc = encode(d, pack, &e->bytes);
        d->vm->all->people->counters.encoded++;
        e->serial = ds->serial;
    }
    return e;
}

static int make_frame(struct deliver *d, struct conn *c, struct framed *f)
{
    struct encoded *e = encoded_for(d, vm_pack_of(d->vm, c));

    f->serial = d->vm->deliveries->serial;
    f->format = conn_format(c);
    f->push.value = d->value;
    f->push.key = d->key;
    f->push.is_volatile = d->is_volatile;
    f->push.is_single = d->is_single;
    return e->rc < 0 ? e->rc : push_frame(&f->push, c, buf_slice(&e->bytes));
}

static bool is_reachable(const struct conn *c)
{
    return conn_is_open(c) && !conn_is_half_closed(c);
}

static int send(struct deliver *d, struct conn *c)
{
    struct deliveries *ds = d->vm->deliveries;
    unsigned i = conn_port(c) * 2 + (conn_protocol(c) == CONN_WS);
    struct framed *f = &ds->framed[i];

    if (!is_reachable(c))
        return SD_EGONE;
    if (conn_protocol(c) == CONN_HTTP)
        return SD_EOFFLINE;
    sd_assert(i < ds->nframed);
    if (f->serial == ds->serial && f->format != conn_format(c))
        push_end(&f->push); /* conns from before a reload */
    if (f->serial != ds->serial || f->format != conn_format(c))
        f->rc = make_frame(d, c, f);
    return f->rc < 0 ? f->rc : conn_push(c, &f->push);
}

int deliver_to(struct deliver *d, struct conn *c)
{
    struct people_counters *count = &d->vm->all->people->counters;
    int rc;

    if (!d->follows && is_reachable(c) && move_is_awaited(c))
        return move_await(c, d);
    rc = send(d, c);
    count->accepted++;
    if (rc == 0) {
        count->delivered++;
        d->sent++;
    } else if (rc == SD_EGONE || rc == SD_EOFFLINE) {
        count->gone++;
    } else if (rc == SD_ESLOW) {
        count->slow++;
        if (d->tells && !d->is_volatile)
            reach_dropped(d->vm->all->reach, conn_uid(c), d->value);
    } else {
        count->invalid++;
    }
    return rc;
}
