/* bind_sys.c - what lua/sd knows of its process: bundle, configuration, time,
 * log. */
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vm/heap.h"
#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"
#include "vm/watchdog.h"

/* core.now() -> seconds since 1970 */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (double)clock_wall_ms() / 1000);
    return 1;
}

/* core.mono() -> ms of the loop's clock */
static int l_mono(lua_State *L)
{
    lua_pushnumber(L, (double)loop_now(vm_of(L)->env.loop));
    return 1;
}

/* core.request_id() -> a new one, unique in the cluster */
static int l_request_id(lua_State *L)
{
    struct vm *vm = vm_of(L);
    char text[48];

    snprintf(text, sizeof(text), "%08" PRIx32 "-%u-%u-%" PRIu64,
             (uint32_t)vm->env.boot, vm->env.slot, vm->env.epoch,
             ++vm->all->request_ids);
    lua_pushstring(L, text);
    return 1;
}

/* core.is_leaving() -> is this worker to end soon, with its node? */
static int l_is_leaving(lua_State *L)
{
    struct vm *vm = vm_of(L);

    lua_pushboolean(L, slots_state(mesh_slots(vm->env.mesh), vm->env.slot) ==
                           SLOT_DRAINING);
    return 1;
}

/* core.deadline() -> when the running call's deadline is, as core.now(); nil:
 * it has none */
static int l_deadline(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct co *co = vm->cos.current;
    double left;

    if (co == NULL || co->deadline == 0)
        return 0;
    left = (double)co->deadline - (double)loop_now(vm->env.loop);
    lua_pushnumber(L, ((double)clock_wall_ms() + left) / 1000);
    return 1;
}

/* The text at `idx`; a NUL would end the line, so it is shown instead. */
static const char *without_nul(lua_State *L, int idx)
{
    size_t i, len;
    const char *p = luaL_checklstring(L, idx, &len);
    luaL_Buffer b;

    if (memchr(p, '\0', len) == NULL)
        return p;
    luaL_buffinit(L, &b);
    for (i = 0; i < len; i++) {
        if (p[i] == '\0')
            luaL_addstring(&b, "\\x00");
        else
            luaL_addchar(&b, p[i]);
    }
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

/* core.log(level, text, fields, request_id) */
static int l_log(lua_State *L)
{
    struct vm *vm = vm_of(L);
    int level = (int)luaL_checkinteger(L, 1);
    const char *text, *why, *fields = NULL;

    lua_settop(L, 4);
    text = without_nul(L, 2);
    if (level < LOG_DEBUG || level > LOG_ERROR || !log_enabled(level))
        return 0;
    buf_consume(&vm->scratch, vm->scratch.len);
    if (lua_istable(L, 3)) {
        if (lua_json_encode(L, 3, &vm->scratch, &why) < 0)
            return co_raise(L, "log fields: %s", why);
        buf_append(&vm->scratch, "", 1);
        fields = buf_slice(&vm->scratch).p;
    }
    log_event(level, lua_tostring(L, 4), fields, "%s", text);
    return 0;
}

/* core.log_missing(controller, method): somebody asked for what is not there;
 * either may be anything a client sent */
static int l_log_missing(lua_State *L)
{
    const char *controller = lua_isstring(L, 1) ? lua_tostring(L, 1) : "?";
    const char *method = lua_isstring(L, 2) ? lua_tostring(L, 2) : "?";

    if (log_enabled(LOG_DEBUG))
        log_debug("no method %s/%s", controller, method);
    return 0;
}

/* core.collect(): collect all garbage now */
static int l_collect(lua_State *L)
{
    garbage_collect(L);
    return 0;
}

/* core.stopped() -> text, stack: what the watchdog has stopped, if it has and
 * nobody has asked yet */
static int l_stopped(lua_State *L)
{
    const char *text, *stack;

    if (!watchdog_take(&text, &stack))
        return 0;
    lua_pushstring(L, text);
    lua_pushstring(L, stack);
    return 2;
}

/* core.scripts() -> list of "controllers/chat", sorted as bundled */
static int l_scripts(lua_State *L)
{
    const struct bundle *b = vm_of(L)->env.bundle;
    struct slice name, data;
    unsigned i;
    int n = 0;

    lua_newtable(L);
    for (i = 0; i < bundle_count(b); i++) {
        bundle_at(b, i, &name, &data);
        if (name.len < 12 || memcmp(name.p, "scripts/", 8) != 0 ||
            memcmp(name.p + name.len - 4, ".lua", 4) != 0)
            continue;
        lua_pushlstring(L, name.p + 8, name.len - 12);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* core.source(path) -> the text of a file of the bundle, or nil */
static int l_source(lua_State *L)
{
    struct slice text;

    if (!bundle_get(vm_of(L)->env.bundle, luaL_checkstring(L, 1), &text))
        return 0;
    lua_pushlstring(L, text.p, text.len);
    return 1;
}

/* core.load_config() -> the whole configuration tree */
static int l_load_config(lua_State *L)
{
    struct slice data;
    const char *why;

    if (!bundle_get(vm_of(L)->env.bundle, "config", &data))
        return luaL_error(L, "the bundle has no configuration");
    if (lua_msgpack_decode(L, data, &why) < 0)
        return luaL_error(L, "configuration: %s", why);
    return 1;
}

/* core.keep_state(value): for the vm that follows this one; nil: nothing */
static int l_keep_state(lua_State *L)
{
    struct buf *kept = &vm_of(L)->all->kept;
    const char *why;

    buf_truncate(kept, 0);
    if (lua_isnoneornil(L, 1))
        return 0;
    lua_settop(L, 1);
    if (lua_msgpack_encode(L, 1, kept, &why) < 0)
        return co_raise(L, "save: %s", why);
    return 0;
}

/* core.kept_state() -> what the vm before this one kept */
static int l_kept_state(lua_State *L)
{
    const char *why;

    if (lua_msgpack_decode(L, buf_slice(&vm_of(L)->all->kept), &why) < 0)
        return luaL_error(L, "%s", why);
    return 1;
}

/* Searcher for require: the bundle's folders, nothing on disk. */
static int l_search(lua_State *L)
{
    static const char *const patterns[] = {
        "scripts/%s.lua",          "lib/%s.lua",
        "lib/%s/init.lua",         "lua_modules/%s.lua",
        "lua_modules/%s/init.lua",
    };
    const struct bundle *b = vm_of(L)->env.bundle;
    const char *name = luaL_gsub(L, luaL_checkstring(L, 1), ".", "/");
    struct slice data;
    size_t i;

    for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        const char *path = lua_pushfstring(L, patterns[i], name);

        if (bundle_get(b, path, &data)) {
            if (luaL_loadbuffer(L, data.p, data.len,
                                lua_pushfstring(L, "@%s", path)) != 0)
                return lua_error(L);
            return 1;
        }
        lua_pop(L, 1);
    }
    lua_pushfstring(L, "\n\tno file '%s.lua' in scripts/, lib/, lua_modules/",
                    name);
    return 1;
}

/* The framework's own modules: "sd" and "sd.x". */
static int l_search_sd(lua_State *L)
{
    const struct bundle *b = vm_of(L)->env.bundle;
    const char *name = luaL_checkstring(L, 1), *path;
    struct slice data;

    if (strcmp(name, "sd") != 0 && strncmp(name, "sd.", 3) != 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    path = name[2] == '\0' ? "sd/init.lua"
                           : lua_pushfstring(L, "sd/%s.lua",
                                             luaL_gsub(L, name + 3, ".", "/"));
    if (!bundle_get(b, path, &data)) {
        lua_pushfstring(L, "\n\tno module '%s' in the framework", name);
        return 1;
    }
    if (luaL_loadbuffer(L, data.p, data.len, lua_pushfstring(L, "@%s", path)) !=
        0)
        return lua_error(L);
    return 1;
}

/* core.check_stack(is_coroutine): raise when the C stack is nearly used up.
 * Asked by what calls back from C, before it does (lua/sd/strict.lua). */
static int l_check_stack(lua_State *L)
{
    const char *here = __builtin_frame_address(0);
    const struct vm *vm = vm_of(L);

    if (here < (lua_toboolean(L, 1) ? vm->stack_nested : vm->stack_low))
        return co_raise(L, "C stack overflow");
    return 0;
}

static const luaL_Reg functions[] = {
    {"check_stack", l_check_stack},
    {"now", l_now},
    {"mono", l_mono},
    {"request_id", l_request_id},
    {"is_leaving", l_is_leaving},
    {"deadline", l_deadline},
    {"collect", l_collect},
    {"stopped", l_stopped},
    {"log", l_log},
    {"log_missing", l_log_missing},
    {"scripts", l_scripts},
    {"load_config", l_load_config},
    {"source", l_source},
    {"keep_state", l_keep_state},
    {"kept_state", l_kept_state},
    {"search", l_search},
    {"search_sd", l_search_sd},
    {NULL, NULL},
};

void bind_sys(lua_State *L)
{
    struct vm *vm = vm_of(L);
    char boot[17];
    unsigned i;

    luaL_register(L, NULL, functions);
    snprintf(boot, sizeof(boot), "%016llx", (unsigned long long)vm->env.boot);
    lua_pushstring(L, vm->env.role == VM_WORKER ? "worker" : "task");
    lua_setfield(L, -2, "role");
    lua_pushstring(L, vm->env.node);
    lua_setfield(L, -2, "node");
    lua_pushstring(L, boot);
    lua_setfield(L, -2, "boot");
    lua_pushinteger(L, (lua_Integer)vm->env.index);
    lua_setfield(L, -2, "index");
    lua_pushinteger(L, (lua_Integer)vm->env.slot);
    lua_setfield(L, -2, "slot");
    lua_pushinteger(L, (lua_Integer)vm->env.generation);
    lua_setfield(L, -2, "generation");
    lua_pushboolean(L, vm->env.conf->server.dev);
    lua_setfield(L, -2, "dev");
    lua_pushboolean(L, vm_is_watched(vm));
    lua_setfield(L, -2, "watchdog");
    lua_pushstring(L, vm->env.why);
    lua_setfield(L, -2, "why");
    lua_pushnumber(L, (double)vm->env.conf->server.call_timeout);
    lua_setfield(L, -2, "call_timeout");
    lua_pushnumber(L, (double)vm->env.conf->server.task_timeout);
    lua_setfield(L, -2, "task_timeout");
    lua_pushinteger(L, (lua_Integer)vm->env.conf->server.tasks);
    lua_setfield(L, -2, "tasks");
    lua_newtable(L);
    for (i = 0; i < vm->env.conf->nports; i++) {
        lua_pushstring(L, vm->env.conf->ports[i].name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "port_names");
}
