/* boot.c - fills a fresh Lua state: libraries, bindings, the application.
 *
 * lua/sd/boot.lua loads the application and returns a table of the functions
 * that C calls; they are kept as registry references.  All of it runs inside
 * one protected call, so whatever raises here ends vm_open() with its text. */
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/mem.h"
#include "vm/door.h"
#include "vm/move.h"
#include "vm/state.h"

static const char *const entry_names[ENTRY_COUNT] = {
    [ENTRY_START] = "start",
    [ENTRY_STOP] = "stop",
    [ENTRY_OPEN] = "open",
    [ENTRY_CLOSE] = "close",
    [ENTRY_GONE] = "gone",
    [ENTRY_BYE] = "bye",
    [ENTRY_ANSWER] = "answer",
    [ENTRY_ENDED] = "ended",
    [ENTRY_TASK] = "task",
    [ENTRY_TIMER] = "timer",
    [ENTRY_UID_CLOSED] = "uid_closed",
    [ENTRY_DOOR] = "door",
    [ENTRY_GROUPS] = "groups",
    [ENTRY_UID_CALLED] = "uid_called",
    [ENTRY_UNDELIVERED] = "undelivered",
};

/* package.loaders: preload, framework, bundle, then what the system has (C
 * modules such as cjson); never the working directory. */
static void open_package(lua_State *L, int core)
{
    static const char *const own[] = {"search_sd", "search"};
    int package, loaders, i;

    lua_getglobal(L, "package");
    package = lua_gettop(L);
    lua_getfield(L, package, "loaders");
    loaders = lua_gettop(L);
    for (i = 4; i >= 2; i--) { /* the three of Lua move behind ours */
        lua_rawgeti(L, loaders, i);
        lua_rawseti(L, loaders, i + 2);
    }
    for (i = 0; i < 2; i++) {
        lua_getfield(L, core, own[i]);
        lua_rawseti(L, loaders, i + 2);
    }
    for (i = 0; i < 2; i++) {
        static const char *const names[] = {"path", "cpath"};
        static const char *const here[] = {"./?.lua;", "./?.so;"};

        lua_getfield(L, package, names[i]);
        luaL_gsub(L, lua_tostring(L, -1), here[i], "");
        lua_setfield(L, package, names[i]);
        lua_pop(L, 1);
    }
    lua_settop(L, package - 1);
}

static void set_pack(lua_State *L, struct vm_pack *p, const char *codec)
{
    p->decode = p->encode = p->length = LUA_NOREF;
    p->kind = PACK_SCRIPT;
    if (codec == NULL || strcmp(codec, "json") == 0)
        p->kind = PACK_JSON;
    else if (strcmp(codec, "msgpack") == 0)
        p->kind = PACK_MSGPACK;
    else if (strcmp(codec, "raw") == 0)
        p->kind = PACK_RAW;
    if (p->kind != PACK_SCRIPT)
        return;
    lua_getfield(L, -1, "packs");
    lua_getfield(L, -1, codec);
    if (!lua_istable(L, -1))
        luaL_error(L, "no pack '%s' in scripts/packs", codec);
    lua_getfield(L, -1, "decode");
    p->decode = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, "encode");
    p->encode = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, "length");
    p->length = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 2);
}

static int ref_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    if (!lua_isfunction(L, -1)) {
        lua_pop(L, 1);
        return LUA_NOREF;
    }
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static bool flag_field(lua_State *L, const char *name)
{
    bool on;

    lua_getfield(L, -1, name);
    on = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return on;
}

static const char *codec_of(const struct conf *conf, unsigned i)
{
    const struct conf_port *port = &conf->ports[i / 2];

    return i % 2 == 0 ? port->codec : port->websocket.codec;
}

/* Packs of scripts have the number of the first place that uses them. */
static void number_pack(const struct vm *vm, struct vm_pack *p, unsigned at)
{
    const char *codec = codec_of(vm->env.conf, at), *other;
    unsigned i = 0;

    p->id = p->kind;
    if (p->kind != PACK_SCRIPT)
        return;
    while ((other = codec_of(vm->env.conf, i)) == NULL ||
           strcmp(other, codec) != 0)
        i++;
    p->id = PACK_SCRIPT + i;
}

/* boot's table is on top: ports = { {packet=, message=}, ... }. */
static void keep_ports(lua_State *L, struct vm *vm)
{
    const struct conf *conf = vm->env.conf;
    unsigned i;

    if (vm->env.net == NULL)
        return;
    vm->nports = conf->nports;
    vm->ports = mem_zalloc(vm->nports * sizeof(*vm->ports));
    for (i = 0; i < vm->nports; i++) {
        set_pack(L, &vm->ports[i].pack[0], conf->ports[i].codec);
        set_pack(L, &vm->ports[i].pack[1], conf->ports[i].websocket.codec);
        lua_getfield(L, -1, "ports");
        lua_rawgeti(L, -1, (int)i + 1);
        vm->ports[i].serve[0] = ref_field(L, "packet");
        vm->ports[i].serve[1] = ref_field(L, "message");
        vm->ports[i].request = ref_field(L, "request");
        vm->ports[i].handshake = ref_field(L, "handshake");
        lua_pop(L, 2);
        number_pack(vm, &vm->ports[i].pack[0], i * 2);
        number_pack(vm, &vm->ports[i].pack[1], i * 2 + 1);
    }
}

static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* The library "jit" switches the compiler on: SD_JIT=off comes behind it. */
static void open_libraries(lua_State *L)
{
    const char *jit = getenv("SD_JIT");

    luaL_openlibs(L);
    if (jit != NULL && strcmp(jit, "off") == 0)
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
}

int vm_boot(lua_State *L)
{
    struct vm *vm = vm_of(L);
    int i, core;

    open_libraries(L);
    lua_newtable(L);
    core = lua_gettop(L);
    bind_sys(L);
    bind_co(L);
    bind_conn(L);
    bind_data(L);
    bind_form(L);
    bind_http(L);
    bind_task(L);
    bind_door(L);
    bind_redis(L);
    bind_people(L);
    bind_move(L);
    bind_crypto(L);
    bind_bytes(L);
    open_package(L, core);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaded");
    lua_pushvalue(L, core);
    lua_setfield(L, -2, "sd.core");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "sd.boot");
    lua_call(L, 1, 1);
    for (i = 0; i < ENTRY_COUNT; i++)
        vm->entry[i] = ref_field(L, entry_names[i]);
    vm->has_open_hook = flag_field(L, "has_open_hook");
    vm->has_close_hook = flag_field(L, "has_close_hook");
    vm->has_handshake_hook = flag_field(L, "has_handshake_hook");
    vm->has_bye = flag_field(L, "has_bye");
    vm->has_undeliverable_hook = flag_field(L, "has_undeliverable_hook");
    vm->has_end_hook = flag_field(L, "has_uid_closed_hook");
    keep_ports(L, vm);
    lua_pushcfunction(L, collect);
    vm->collect = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}
