/* bind_form.c - queries, forms and cookies for lua/sd. */
#include <lauxlib.h>
#include <lua.h>

#include "codec/cookie.h"
#include "codec/mime.h"
#include "codec/url.h"
#include "net/http.h"
#include "vm/decode.h"
#include "vm/lua_value.h"
#include "vm/state.h"

#define PAIRS_MAX 1000

static void push(lua_State *L, struct slice s)
{
    lua_pushlstring(L, s.p, s.len);
}

/* Push `s` decoded; false: bad percent coding, nothing pushed. */
static bool push_decoded(lua_State *L, struct buf *scratch, struct slice s)
{
    buf_consume(scratch, scratch->len);
    if (url_decode(scratch, s, true) < 0)
        return false;
    push(L, buf_slice(scratch));
    return true;
}

/* Table `all` at -1: append value at -2 to the list under the key at -3. */
static void add_to_all(lua_State *L)
{
    lua_pushvalue(L, -3);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_value_new_list(L, 1);
        lua_pushvalue(L, -4);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 1);
}

/* Add the pairs of `rest` to the map at `map`, and to the lists at `all` when
 * that is not 0.  False: not readable. */
static bool read_pairs(lua_State *L, struct slice rest, int map, int all)
{
    struct vm *vm = vm_of(L);
    struct slice name, value;
    int n = 0;

    while (url_next_pair(&name, &value, &rest)) {
        if (++n > PAIRS_MAX || !push_decoded(L, &vm->scratch, name) ||
            !push_decoded(L, &vm->scratch, value))
            return false;
        if (all != 0) {
            lua_pushvalue(L, all);
            add_to_all(L);
            lua_pop(L, 1);
        }
        lua_rawset(L, map);
    }
    return true;
}

/* core.pairs(text) -> map of the last values, map of all values; nil: not
 * readable */
static int l_pairs(lua_State *L)
{
    struct slice text;

    text.p = luaL_checklstring(L, 1, &text.len);
    lua_newtable(L); /* 2: last */
    lua_newtable(L); /* 3: all */
    if (!read_pairs(L, text, 2, 3))
        return 0;
    lua_settop(L, 3);
    return 2;
}

static int bad(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* Push the parameters of a request: the JSON body, or query and form in one
 * map; or nil and why they cannot be read.  How many were pushed. */
static int push_params(lua_State *L, const struct http_request *r)
{
    struct slice type = {"", 0}, query = http_query(r), body = http_body(r);
    const char *why;
    int map;

    if (http_header(&type, r, "content-type") &&
        mime_is(type, "application/json") &&
        (body.len > 0 || !slice_is(http_method(r), "GET"))) {
        if (decode_json(L, body, &why) < 0)
            return bad(L, why);
        return 1;
    }
    lua_newtable(L);
    map = lua_gettop(L);
    if (query.len > 0 && !read_pairs(L, query, map, 0))
        return bad(L, "unreadable query");
    if (type.len > 0 && mime_is(type, "application/x-www-form-urlencoded") &&
        !read_pairs(L, body, map, 0))
        return bad(L, "unreadable form");
    return 1;
}

/* core.http_entry(request, paths) -> what the table has for the request's
 * path, and the request's parameters; entry, nil, why; nothing: no entry */
static int l_entry(lua_State *L)
{
    struct vm_request *q = vm_request(vm_of(L), luaL_checknumber(L, 1));

    if (q == NULL)
        return co_raise(L, "the request has already been answered");
    push(L, http_path(q->r));
    lua_rawget(L, 2);
    if (lua_isnil(L, -1))
        return 0;
    return 1 + push_params(L, q->r);
}

/* core.cookies(text) -> map */
static int l_cookies(lua_State *L)
{
    struct slice rest, name, value;

    rest.p = luaL_checklstring(L, 1, &rest.len);
    lua_newtable(L);
    while (cookie_next(&name, &value, &rest)) {
        push(L, name);
        push(L, value);
        lua_rawset(L, -3);
    }
    return 1;
}

static struct slice field(lua_State *L, int idx, const char *name)
{
    struct slice s = {"", 0};

    lua_getfield(L, idx, name);
    if (lua_type(L, -1) == LUA_TSTRING)
        s.p = lua_tolstring(L, -1, &s.len); /* the table keeps it */
    lua_pop(L, 1);
    return s;
}

static bool flag(lua_State *L, int idx, const char *name)
{
    bool on;

    lua_getfield(L, idx, name);
    on = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return on;
}

static enum cookie_same_site same_site(struct slice s)
{
    if (slice_is(s, "lax"))
        return COOKIE_SAME_SITE_LAX;
    if (slice_is(s, "strict"))
        return COOKIE_SAME_SITE_STRICT;
    if (slice_is(s, "none"))
        return COOKIE_SAME_SITE_NONE;
    return COOKIE_SAME_SITE_UNSET;
}

/* core.cookie(name, value, opts) -> value of a Set-Cookie header, or nil */
static int l_cookie(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct cookie c = {0};

    c.name.p = luaL_checklstring(L, 1, &c.name.len);
    c.value.p = luaL_checklstring(L, 2, &c.value.len);
    luaL_checktype(L, 3, LUA_TTABLE);
    c.path = field(L, 3, "path");
    c.domain = field(L, 3, "domain");
    c.http_only = flag(L, 3, "http_only");
    c.secure = flag(L, 3, "secure");
    c.same_site = same_site(field(L, 3, "same_site"));
    lua_getfield(L, 3, "max_age");
    c.has_max_age = lua_isnumber(L, -1) != 0;
    c.max_age = (int64_t)lua_tonumber(L, -1);
    buf_consume(&vm->scratch, vm->scratch.len);
    if (cookie_write(&vm->scratch, &c) < 0)
        return 0;
    push(L, buf_slice(&vm->scratch));
    return 1;
}

static const luaL_Reg functions[] = {
    {"pairs", l_pairs},     {"http_entry", l_entry},
    {"cookies", l_cookies}, {"cookie", l_cookie},
    {NULL, NULL},
};

void bind_form(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
