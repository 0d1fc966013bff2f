/* lua_msgpack.c - see lua_msgpack.h.
 *
 * The twin of lua_json.c, with its rules for errors and memory.  Two things
 * differ: strings may hold any bytes, and a container's head says how much it
 * holds.  Decoding trusts that number only so far that the table is made with
 * some room at once; encoding has to count the pairs of a map first. */
#include "vm/lua_msgpack.h"

#include <stdint.h>

#include "base/err.h"
#include "codec/decimal.h"
#include "codec/msgpack.h"
#include "vm/lua_fault.h"
#include "vm/lua_value.h"

enum {
    TABLE_SLOTS = 8, /* what one level needs on the Lua stack */
    HINT_MAX = 64    /* places made before their values were seen */
};

static _Thread_local struct lua_fault fault;
static _Thread_local size_t limit; /* of the buffer being written */

/* --- decoding ------------------------------------------------------------- */

static int push_value(lua_State *L, struct msgpack *m, int token);

static int hint(uint32_t count)
{
    return count < HINT_MAX ? (int)count : HINT_MAX;
}

/* Up to 2^53 a number, beyond a string of digits. */
static void push_int(lua_State *L, struct msgpack *m, int token)
{
    char digits[DECIMAL_MAX];
    size_t len;

    if (token == MSGPACK_INT && m->i >= -(int64_t)LUA_VALUE_INT_MAX &&
        m->i <= (int64_t)LUA_VALUE_INT_MAX) {
        lua_pushnumber(L, (double)m->i);
        return;
    }
    if (token == MSGPACK_INT)
        len = decimal_write_int(digits, m->i);
    else
        len = decimal_write_uint(digits, m->u);
    lua_pushlstring(L, digits, len);
}

static int push_double(lua_State *L, struct msgpack *m)
{
    if (m->n - m->n != 0) {
        m->why = "number is NaN or infinite";
        return SD_EINVALID;
    }
    lua_pushnumber(L, m->n);
    return 0;
}

static int push_key(lua_State *L, struct msgpack *m)
{
    int token = msgpack_next(m);
    int64_t n;

    if (token < 0)
        return token;
    if (token == MSGPACK_STR || token == MSGPACK_BIN || token == MSGPACK_INT ||
        token == MSGPACK_UINT)
        return push_value(L, m, token);
    if (token == MSGPACK_DOUBLE && push_double(L, m) == 0 &&
        lua_value_is_integer(L, -1, &n))
        return 0;
    m->why = "key is neither text nor an integer";
    return SD_EINVALID;
}

static int push_map(lua_State *L, struct msgpack *m)
{
    uint32_t left = m->count;
    int token, err;

    lua_createtable(L, 0, hint(left));
    for (; left > 0; left--) {
        err = push_key(L, m);
        if (err < 0)
            return err;
        token = msgpack_next(m);
        if (token == MSGPACK_NIL)
            lua_pushnil(L); /* it may have to remove an earlier duplicate */
        else
            err = push_value(L, m, token);
        if (err < 0)
            return err;
        lua_rawset(L, -3);
    }
    return 0;
}

static int push_list(lua_State *L, struct msgpack *m)
{
    uint32_t i, count = m->count;
    int err;

    lua_value_new_list(L, hint(count));
    for (i = 1; i <= count; i++) {
        err = push_value(L, m, msgpack_next(m));
        if (err < 0)
            return err;
        lua_rawseti(L, -2, (int)i);
    }
    return 0;
}

static int push_value(lua_State *L, struct msgpack *m, int token)
{
    switch (token) {
    case MSGPACK_STR:
    case MSGPACK_BIN:
        lua_pushlstring(L, m->text.p, m->text.len);
        return 0;
    case MSGPACK_INT:
    case MSGPACK_UINT:
        push_int(L, m, token);
        return 0;
    case MSGPACK_DOUBLE:
        return push_double(L, m);
    case MSGPACK_TRUE:
    case MSGPACK_FALSE:
        lua_pushboolean(L, token == MSGPACK_TRUE);
        return 0;
    case MSGPACK_NIL:
        lua_value_push_null(L);
        return 0;
    case MSGPACK_MAP:
    case MSGPACK_ARRAY:
        if (!lua_checkstack(L, TABLE_SLOTS)) {
            m->why = "no room on the Lua stack";
            return SD_EINVALID;
        }
        return token == MSGPACK_MAP ? push_map(L, m) : push_list(L, m);
    default:
        return SD_EINVALID;
    }
}

int lua_msgpack_decode(lua_State *L, struct slice s, const char **why)
{
    struct msgpack m;
    int err = 0, token;
    int top = lua_gettop(L);

    msgpack_init(&m, s);
    token = msgpack_next(&m);
    if (token == MSGPACK_NIL)
        lua_pushnil(L);
    else
        err = push_value(L, &m, token);
    if (err == 0 && msgpack_next(&m) != MSGPACK_END)
        err = SD_EINVALID;
    if (err < 0) {
        lua_settop(L, top);
        *why = m.why;
    }
    return err;
}

/* --- encoding ------------------------------------------------------------- */

static int put_value(lua_State *L, int idx, struct buf *out, int depth);

static int too_long(void)
{
    return lua_fault_set(&fault, "cannot encode more than 64 MiB");
}

static int put_string(lua_State *L, int idx, struct buf *out)
{
    size_t len;
    const char *p = lua_tolstring(L, idx, &len);

    if (out->len > limit)
        return too_long();
    if (msgpack_write_string(out, slice_make(p, len)) < 0)
        return lua_fault_set(&fault, "cannot encode text of 4 GiB or more");
    return 0;
}

static int put_key(lua_State *L, int idx, struct buf *out)
{
    int64_t n;

    if (lua_type(L, idx) == LUA_TSTRING)
        return put_string(L, idx, out);
    if (!lua_value_is_integer(L, idx, &n))
        return lua_fault_set(&fault,
                             "cannot encode a key that is neither text nor an "
                             "integer");
    msgpack_write_int(out, n);
    return 0;
}

static uint32_t count_pairs(lua_State *L, int idx)
{
    uint32_t n = 0;

    lua_pushnil(L);
    while (lua_next(L, idx) != 0) {
        lua_pop(L, 1);
        n++;
    }
    return n;
}

static int put_map(lua_State *L, int idx, struct buf *out, int depth)
{
    int key = lua_gettop(L) + 1;

    msgpack_write_map(out, count_pairs(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx) != 0) {
        if (put_key(L, key, out) < 0 || put_value(L, key + 1, out, depth) < 0) {
            lua_fault_key(&fault, L, key);
            return SD_EINVALID;
        }
        lua_settop(L, key);
    }
    return 0;
}

static int put_list(lua_State *L, int idx, size_t n, struct buf *out, int depth)
{
    int item = lua_gettop(L) + 1;
    size_t i;

    msgpack_write_array(out, (uint32_t)n);
    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, idx, (int)i);
        if (put_value(L, item, out, depth) < 0) {
            lua_fault_item(&fault, i);
            return SD_EINVALID;
        }
        lua_settop(L, item - 1);
    }
    return 0;
}

static int put_table(lua_State *L, int idx, struct buf *out, int depth)
{
    size_t n;

    if (depth == LUA_VALUE_DEPTH)
        return lua_fault_set(&fault, "tables nest deeper than %d (a cycle?)",
                             LUA_VALUE_DEPTH);
    if (out->len > limit)
        return too_long();
    if (!lua_checkstack(L, TABLE_SLOTS))
        return lua_fault_set(&fault, "no room on the Lua stack");
    if (lua_value_is_list(L, idx, &n))
        return put_list(L, idx, n, out, depth + 1);
    return put_map(L, idx, out, depth + 1);
}

static int put_value(lua_State *L, int idx, struct buf *out, int depth)
{
    switch (lua_type(L, idx)) {
    case LUA_TSTRING:
        return put_string(L, idx, out);
    case LUA_TNUMBER:
        if (msgpack_write_number(out, lua_tonumber(L, idx)) < 0)
            return lua_fault_set(&fault, "cannot encode NaN or infinity");
        return 0;
    case LUA_TBOOLEAN:
        msgpack_write_bool(out, lua_toboolean(L, idx) != 0);
        return 0;
    case LUA_TTABLE:
        return put_table(L, idx, out, depth);
    case LUA_TNIL:
        msgpack_write_nil(out);
        return 0;
    default:
        if (!lua_value_is_null(L, idx))
            return lua_fault_set(&fault, "cannot encode a %s",
                                 lua_typename(L, lua_type(L, idx)));
        msgpack_write_nil(out);
        return 0;
    }
}

int lua_msgpack_encode(lua_State *L, int idx, struct buf *out, const char **why)
{
    size_t before = out->len;
    int top = lua_gettop(L);
    int err;

    if (idx < 0 && idx > LUA_REGISTRYINDEX)
        idx += top + 1;
    limit = before + LUA_VALUE_BYTES;
    err = put_value(L, idx, out, 0);
    if (err < 0) {
        lua_settop(L, top);
        buf_truncate(out, before);
        *why = lua_fault_text(&fault);
    }
    return err;
}
