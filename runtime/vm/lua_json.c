/* lua_json.c - see lua_json.h.
 *
 * No tree stands between bytes and tables: decoding sets each value into its
 * table as the reader tells it, encoding writes each one as lua_next() tells
 * it.  Both recurse by container, at most LUA_VALUE_DEPTH deep, which is also
 * what ends a cycle.  A small table whose parts are each used many times can
 * still be endless as text; LUA_VALUE_BYTES ends that.
 *
 * Lua's "not enough memory" may leave these functions by longjmp at any call
 * of its API.  Therefore they own nothing on the C stack: the buffer for
 * unescaped strings and the text of the last error live in the thread, are
 * reset by the next use, and a large buffer is given back then or at once. */
#include "vm/lua_json.h"

#include <stdint.h>

#include "base/err.h"
#include "codec/json.h"
#include "vm/lua_fault.h"
#include "vm/lua_value.h"

enum {
    SCRATCH_KEPT = 64 * 1024,
    TABLE_SLOTS = 8, /* what one level needs on the Lua stack */
    MAP_HINT = 4,
    LIST_HINT = 4
};

static _Thread_local struct buf scratch;
static _Thread_local struct lua_fault fault;
static _Thread_local size_t limit; /* of the buffer being written */

/* --- decoding ------------------------------------------------------------- */

static int push_value(lua_State *L, struct json *j, int token);

static int push_map(lua_State *L, struct json *j)
{
    int token = json_next(j), err;

    lua_createtable(L, 0, token == JSON_MAP_END ? 0 : MAP_HINT);
    for (; token == JSON_KEY; token = json_next(j)) {
        lua_pushlstring(L, j->text.p, j->text.len);
        token = json_next(j);
        if (token == JSON_NULL) {
            lua_pushnil(L); /* it may have to remove an earlier duplicate */
        } else {
            err = push_value(L, j, token);
            if (err < 0)
                return err;
        }
        lua_rawset(L, -3);
    }
    return token < 0 ? token : 0;
}

static int push_list(lua_State *L, struct json *j)
{
    int token = json_next(j), err, n = 0;

    lua_value_new_list(L, token == JSON_LIST_END ? 0 : LIST_HINT);
    for (; token != JSON_LIST_END; token = json_next(j)) {
        err = push_value(L, j, token);
        if (err < 0)
            return err;
        lua_rawseti(L, -2, ++n);
    }
    return 0;
}

static int push_value(lua_State *L, struct json *j, int token)
{
    switch (token) {
    case JSON_STRING:
    case JSON_BIGINT:
        lua_pushlstring(L, j->text.p, j->text.len);
        return 0;
    case JSON_NUMBER:
        lua_pushnumber(L, j->number);
        return 0;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, token == JSON_TRUE);
        return 0;
    case JSON_NULL:
        lua_value_push_null(L);
        return 0;
    case JSON_MAP:
    case JSON_LIST:
        if (!lua_checkstack(L, TABLE_SLOTS)) {
            j->why = "no room on the Lua stack";
            return SD_EINVALID;
        }
        return token == JSON_MAP ? push_map(L, j) : push_list(L, j);
    default:
        return SD_EINVALID;
    }
}

int lua_json_decode(lua_State *L, struct slice s, const char **why)
{
    struct json j;
    int err, token;
    int top = lua_gettop(L);

    json_init(&j, s, &scratch);
    token = json_next(&j);
    if (token == JSON_NULL) {
        lua_pushnil(L);
        err = 0;
    } else {
        err = push_value(L, &j, token);
    }
    if (err == 0 && json_next(&j) != JSON_END)
        err = SD_EINVALID;
    if (err < 0) {
        lua_settop(L, top);
        lua_fault_set(&fault, "%s at byte %zu", j.why,
                      (size_t)(j.p - j.start) + 1);
        *why = lua_fault_text(&fault);
    }
    if (scratch.cap > SCRATCH_KEPT)
        buf_fini(&scratch);
    return err;
}

/* --- encoding ------------------------------------------------------------- */

static int put_value(lua_State *L, int idx, struct buf *out, int depth);

/* Most bytes of structure find room, and then take no call. */
static inline void put(struct buf *out, char c)
{
    if (out->cap - out->head - out->len == 0)
        buf_reserve(out, 1);
    out->p[out->head + out->len++] = c;
}

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
    if (json_write_string(out, slice_make(p, len)) < 0)
        return lua_fault_set(&fault, "cannot encode text that is not UTF-8");
    return 0;
}

/* The key at `idx` and its colon. */
static int put_key(lua_State *L, int idx, struct buf *out)
{
    int64_t n;

    if (lua_type(L, idx) == LUA_TSTRING) {
        if (put_string(L, idx, out) < 0)
            return SD_EINVALID;
    } else if (lua_value_is_integer(L, idx, &n)) {
        put(out, '"');
        json_write_int(out, n);
        put(out, '"');
    } else {
        return lua_fault_set(&fault,
                             "cannot encode a key that is neither text nor an "
                             "integer");
    }
    put(out, ':');
    return 0;
}

/* The first key and value are on the stack; both are gone at the end. */
static int put_map(lua_State *L, int idx, struct buf *out, int depth)
{
    int key = lua_gettop(L) - 1;
    char before = '{';

    do {
        put(out, before);
        before = ',';
        if (put_key(L, key, out) < 0 || put_value(L, key + 1, out, depth) < 0) {
            lua_fault_key(&fault, L, key);
            return SD_EINVALID;
        }
        lua_settop(L, key);
    } while (lua_next(L, idx) != 0);
    put(out, '}');
    return 0;
}

static int put_list(lua_State *L, int idx, size_t n, struct buf *out, int depth)
{
    int item = lua_gettop(L) + 1;
    size_t i;

    put(out, '[');
    for (i = 1; i <= n; i++) {
        if (i > 1)
            put(out, ',');
        lua_rawgeti(L, idx, (int)i);
        if (put_value(L, item, out, depth) < 0) {
            lua_fault_item(&fault, i);
            return SD_EINVALID;
        }
        lua_settop(L, item - 1);
    }
    put(out, ']');
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
    lua_pushnil(L);
    if (lua_next(L, idx) != 0) {
        if (lua_type(L, -2) == LUA_TSTRING)
            return put_map(L, idx, out, depth + 1);
        lua_pop(L, 2);
    }
    if (lua_value_is_list(L, idx, &n))
        return put_list(L, idx, n, out, depth + 1);
    lua_pushnil(L);
    if (lua_next(L, idx) != 0)
        return put_map(L, idx, out, depth + 1);
    buf_append(out, "{}", 2);
    return 0;
}

static int put_value(lua_State *L, int idx, struct buf *out, int depth)
{
    switch (lua_type(L, idx)) {
    case LUA_TSTRING:
        return put_string(L, idx, out);
    case LUA_TNUMBER:
        if (json_write_number(out, lua_tonumber(L, idx)) < 0)
            return lua_fault_set(&fault, "cannot encode NaN or infinity");
        return 0;
    case LUA_TBOOLEAN:
        buf_append_str(out, lua_toboolean(L, idx) ? "true" : "false");
        return 0;
    case LUA_TTABLE:
        return put_table(L, idx, out, depth);
    case LUA_TNIL:
        buf_append(out, "null", 4);
        return 0;
    default:
        if (!lua_value_is_null(L, idx))
            return lua_fault_set(&fault, "cannot encode a %s",
                                 lua_typename(L, lua_type(L, idx)));
        buf_append(out, "null", 4);
        return 0;
    }
}

int lua_json_encode(lua_State *L, int idx, struct buf *out, const char **why)
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
