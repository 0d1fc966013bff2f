/* bind_http.c - HTTP requests and responses for lua/sd.
 *
 * A request is a number here; when it has ended (answered, or its client has
 * gone) reading it raises and answering it does nothing. */
#include <lauxlib.h>
#include <lua.h>

#include "base/conf.h"
#include "base/err.h"
#include "codec/cookie.h"
#include "codec/http_response.h"
#include "codec/url.h"
#include "net/conn.h"
#include "net/http.h"
#include "vm/lua_json.h"
#include "vm/state.h"

static struct vm_request *request(lua_State *L)
{
    return vm_request(vm_of(L), luaL_checknumber(L, 1));
}

static struct http_request *live(lua_State *L)
{
    struct vm_request *q = request(L);

    if (q == NULL)
        co_raise(L, "the request has already been answered");
    return q->r;
}

static void push(lua_State *L, struct slice s)
{
    lua_pushlstring(L, s.p, s.len);
}

static struct slice opt_slice(lua_State *L, int idx)
{
    struct slice s = {"", 0};

    if (lua_isstring(L, idx))
        s.p = lua_tolstring(L, idx, &s.len);
    return s;
}

/* core.http_call(request) -> method, path */
static int l_call(lua_State *L)
{
    struct http_request *r = live(L);

    push(L, http_method(r));
    push(L, http_path(r));
    return 2;
}

/* core.http_head(request) -> query text, headers, protocol */
static int l_head(lua_State *L)
{
    struct http_request *r = live(L);
    unsigned i, n = http_header_count(r);
    struct slice name, value;

    push(L, http_query(r));
    lua_createtable(L, 0, (int)n);
    for (i = 0; i < n; i++) {
        http_header_at(r, i, &name, &value);
        push(L, name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            push(L, value);
        } else { /* repeated: one list, as the RFC reads it */
            lua_pushliteral(L, ", ");
            push(L, value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
    lua_pushstring(L, http_protocol(r));
    return 3;
}

/* core.http_body(request) -> bytes */
static int l_body(lua_State *L)
{
    push(L, http_body(live(L)));
    return 1;
}

/* core.http_is_gone(request) */
static int l_is_gone(lua_State *L)
{
    struct vm_request *q = request(L);

    lua_pushboolean(L, q == NULL || http_is_gone(q->r));
    return 1;
}

/* core.http_respond(request, status, type, lines, body) -> was it the first? */
static int l_respond(lua_State *L)
{
    struct vm_request *q = request(L);

    if (q == NULL || q->streaming)
        return 0;
    http_respond(q->r, (int)luaL_checkinteger(L, 2), opt_slice(L, 3),
                 opt_slice(L, 4), opt_slice(L, 5));
    vm_request_ended(vm_of(L), q);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.http_value(request, status, lines, value) -> was it the first?
 * Raises what JSON cannot carry. */
static int l_value(lua_State *L)
{
    struct vm_request *q = request(L);
    struct vm *vm = vm_of(L);
    const char *why = "";

    if (q == NULL || q->streaming)
        return 0;
    buf_consume(&vm->scratch, vm->scratch.len);
    if (lua_json_encode(L, 4, &vm->scratch, &why) < 0)
        return co_raise(L, "cannot answer: %s", why);
    http_respond(q->r, (int)luaL_checkinteger(L, 2),
                 slice_str("application/json"), opt_slice(L, 3),
                 buf_slice(&vm->scratch));
    vm_request_ended(vm, q);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.http_static(request) -> was there a file? */
static int l_static(lua_State *L)
{
    struct vm_request *q = request(L);
    bool done = q != NULL && http_static(q->r);

    if (done)
        vm_request_ended(vm_of(L), q);
    lua_pushboolean(L, done);
    return 1;
}

/* core.http_file(request, root, path, type, lines) -> true, or nil, word */
static int l_file(lua_State *L)
{
    struct vm_request *q = request(L);
    int rc;

    if (q == NULL || q->streaming)
        return 0;
    rc = http_file(q->r, luaL_checkstring(L, 2), opt_slice(L, 3),
                   opt_slice(L, 4), opt_slice(L, 5));
    if (rc < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err_word(rc));
        return 2;
    }
    vm_request_ended(vm_of(L), q);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.public(request) -> folder of the port's static files, nil: none */
static int l_public(lua_State *L)
{
    struct vm_request *q = request(L);

    if (q == NULL || conn_conf(http_conn(q->r))->public_dir == NULL)
        return 0;
    lua_pushstring(L, conn_conf(http_conn(q->r))->public_dir);
    return 1;
}

/* core.http_write(request, status, type, lines, chunk) -> true, or nil, word;
 * while http_is_slow() wait before the next */
static int l_write(lua_State *L)
{
    struct vm_request *q = request(L);
    int rc;

    if (q == NULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "gone");
        return 2;
    }
    if (!q->streaming) {
        http_stream_begin(q->r, (int)luaL_checkinteger(L, 2), opt_slice(L, 3),
                          opt_slice(L, 4));
        q->streaming = true;
    }
    rc = http_stream_write(q->r, opt_slice(L, 5));
    if (rc < 0 && rc != SD_ESLOW) {
        lua_pushnil(L);
        lua_pushstring(L, err_word(rc));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* core.http_abort(request): what streams will never be whole */
static int l_abort(lua_State *L)
{
    struct vm_request *q = request(L);

    if (q != NULL && q->streaming) {
        http_stream_abort(q->r);
        vm_request_ended(vm_of(L), q);
    }
    return 0;
}

/* core.http_is_slow(request) */
static int l_is_slow(lua_State *L)
{
    struct vm_request *q = request(L);

    lua_pushboolean(L, q != NULL && q->streaming && http_stream_is_slow(q->r));
    return 1;
}

/* core.http_done(request) -> has it been answered, at least in part? */
static int l_done(lua_State *L)
{
    struct vm_request *q = request(L);

    lua_pushboolean(L, q == NULL || q->streaming);
    return 1;
}

/* core.http_upgrade(request, lines) -> true, or nil, word: open a WebSocket */
static int l_upgrade(lua_State *L)
{
    struct vm_request *q = request(L);
    int rc;

    if (q == NULL)
        return 0;
    rc = conn_ws_accept(q->r, opt_slice(L, 2));
    if (rc == 0)
        vm_request_opened(vm_of(L), q);
    vm_request_ended(vm_of(L), q);
    lua_pushboolean(L, rc == 0);
    return 1;
}

/* core.http_line(name, value) -> a header line, or nil: not a valid one */
static int l_line(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct slice name = opt_slice(L, 1), value = opt_slice(L, 2);

    buf_consume(&vm->scratch, vm->scratch.len);
    if (http_response_header(&vm->scratch, name, value) < 0)
        return 0;
    push(L, buf_slice(&vm->scratch));
    return 1;
}

static const luaL_Reg functions[] = {
    {"http_call", l_call},       {"http_head", l_head},
    {"http_body", l_body},       {"http_is_gone", l_is_gone},
    {"http_respond", l_respond}, {"http_value", l_value},
    {"http_static", l_static},   {"http_file", l_file},
    {"public", l_public},        {"http_write", l_write},
    {"http_abort", l_abort},     {"http_is_slow", l_is_slow},
    {"http_done", l_done},       {"http_upgrade", l_upgrade},
    {"http_line", l_line},       {NULL, NULL},
};

void bind_http(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
