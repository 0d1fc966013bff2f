/* boot.c - fills a fresh Lua state: libraries, bindings, the application.
 *
 * lua/sd/boot.lua returns a table of the functions that C calls; they are kept
 * as registry references.  It comes in three steps, so that a large
 * application can be loaded beside the vm that serves: the framework, then
 * file after file, then what the framework makes of them.  Each runs inside a
 * protected call, whose error is the error of the build. */
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"
#include "vm/abroad.h"
#include "vm/deliver.h"
#include "vm/door.h"
#include "vm/event.h"
#include "vm/move.h"
#include "vm/state.h"
#include "vm/watchdog.h"

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
    [ENTRY_LOCATE] = "locate",
    [ENTRY_ARRIVED] = "arrived",
    [ENTRY_LEFT] = "left",
    [ENTRY_EVENTS] = "events",
    [ENTRY_CONSOLE] = "console",
    [ENTRY_UID_CALLED] = "uid_called",
    [ENTRY_UNDELIVERED] = "undelivered",
    [ENTRY_RETIRE] = "retire",
    [ENTRY_SAVE] = "save",
    [ENTRY_RESTORE] = "restore",
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

/* boot's table is on top. */
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

/* A format that is no port's any more, with a pack that only its conns use.
 * What they send or are sent is unreadable when its script is gone. */
static void keep_pack(lua_State *L, struct vm *vm, const char *codec)
{
    struct vm_packs *packs = &vm->packs;
    struct vm_pack p = {0};

    lua_getfield(L, -1, "packs");
    lua_getfield(L, -1, codec);
    if (!lua_istable(L, -1)) {
        log_error("scripts/packs/%s.lua is gone, and conns speak by it", codec);
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 2);
    set_pack(L, &p, codec);
    p.id = PACK_SCRIPT + 2 * vm->env.conf->nports + packs->n;
    packs_add(packs, codec, &p);
    deliveries_grow(&vm->deliveries, p.id + 1);
}

int vm_keep_packs(lua_State *L)
{
    struct vm *vm = vm_of(L);
    unsigned cursor = 0;
    const char *codec;

    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->boot);
    while (vm->env.net != NULL &&
           (codec = net_next_codec(vm->env.net, &cursor)) != NULL) {
        if (pack_by_name(vm, codec) == NULL)
            keep_pack(L, vm, codec);
    }
    return 0;
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
        vm->ports[i].format = net_format(vm->env.net, i);
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

/* A task's call that hangs is ended from outside: vm/task_run.c.  Its vm is
 * watched only while it is made. */
bool vm_is_watched(const struct vm *vm)
{
    const struct conf_server *server = &vm->env.conf->server;

    return server->watchdog && server->max_run > 0 &&
           (vm->env.role == VM_WORKER || vm->state < VM_STANDING_BY);
}

/* The library "jit" switches the compiler on: SD_JIT=off comes behind it. */
static void open_libraries(lua_State *L)
{
    const char *jit = getenv("SD_JIT");
    struct vm *vm = vm_of(L);

    luaL_openlibs(L);
    open_iterate(L);
    if (vm_is_watched(vm))
        watchdog_watch(L, vm->max_run);
    if (jit != NULL && strcmp(jit, "off") == 0)
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
}

/* All that sd.core has. */
static void bind_core(lua_State *L)
{
    bind_sys(L);
    bind_note(L);
    bind_co(L);
    bind_ask(L);
    bind_conn(L);
    bind_data(L);
    bind_form(L);
    bind_http(L);
    bind_task(L);
    bind_door(L);
    bind_redis(L);
    bind_people(L);
    bind_move(L);
    bind_abroad(L);
    bind_event(L);
    bind_abroad_calls(L);
    bind_elsewhere(L);
    bind_oust(L);
    bind_left(L);
    bind_crypto(L);
    bind_bytes(L);
    bind_console(L);
    bind_look(L);
}

int vm_boot(lua_State *L)
{
    struct vm *vm = vm_of(L);
    int i, core;

    open_libraries(L);
    lua_newtable(L);
    core = lua_gettop(L);
    bind_core(L);
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
    vm->boot = luaL_ref(L, LUA_REGISTRYINDEX);
    garbage_boot(L);
    return 0;
}

static void call_boot(lua_State *L, const char *name, int results)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->boot);
    lua_getfield(L, -1, name);
    lua_call(L, 0, results);
}

int vm_boot_file(lua_State *L)
{
    call_boot(L, "load", 1);
    return 1;
}

int vm_boot_end(lua_State *L)
{
    struct vm *vm = vm_of(L);

    call_boot(L, "finish", 0);
    vm->has_open_hook = flag_field(L, "has_open_hook");
    vm->has_close_hook = flag_field(L, "has_close_hook");
    vm->has_handshake_hook = flag_field(L, "has_handshake_hook");
    vm->has_bye = flag_field(L, "has_bye");
    vm->has_undeliverable_hook = flag_field(L, "has_undeliverable_hook");
    vm->has_end_hook = flag_field(L, "has_uid_closed_hook");
    keep_ports(L, vm);
    return 0;
}
