/* conf_lua.c - see conf_lua.h.
 *
 * The work itself is Lua (lua/sd/conf.lua and lua/sd/conf/), because it is
 * about Lua tables and texts and runs once.  This file makes the state it
 * runs in and gives it a table `host` of what Lua cannot do: list a folder,
 * read a file that must lie inside the application, ask the schema.
 *
 * The state may use 1 GiB and then fails with "not enough memory": a
 * configuration that grows for ever ends here, not the machine. */
#include "vm/conf_lua.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bundle.h"
#include "base/conf_schema.h"
#include "base/conf_value.h"
#include "base/err.h"
#include "base/mem.h"
#include "vm/conf_note.h"
#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"

enum {
    FILE_MAX = 16 * 1024 * 1024,
    MEMORY_MAX = 1024 * 1024 * 1024,
    WHY_MAX = 256,
};

static const char *const type_words[] = {
    [CONF_STRING] = "string",     [CONF_BOOL] = "bool",
    [CONF_INT] = "int",           [CONF_NUMBER] = "number",
    [CONF_DURATION] = "duration", [CONF_SIZE] = "size",
    [CONF_CHOICE] = "choice",     [CONF_LIST] = "list",
    [CONF_WORDS] = "words",       [CONF_TIME] = "time",
    [CONF_ANY] = "any",
};

struct builder {
    const struct conf_build_opts *opts;
    size_t memory;
    char app[PATH_MAX]; /* the real path of the application folder */
    struct buf *bundle, *report;
    bool failed;
};

static struct builder *builder_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* --- files ---------------------------------------------------------------- */

/* The path of `name` below one of the roots "app", "lib" and "any". */
static void full_path(const struct builder *b, char *path, const char *root,
                      const char *name)
{
    const char *dir = b->opts->framework_dir;

    if (strcmp(root, "any") == 0 && name[0] == '/')
        dir = "";
    else if (strcmp(root, "lib") != 0)
        dir = b->app;
    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        path[0] = '\0'; /* too long: no such file */
}

/* Links may point about inside the application, never out of it. */
static bool is_inside(const struct builder *b, const char *path)
{
    char real[PATH_MAX];
    size_t len = strlen(b->app);

    return realpath(path, real) != NULL && strncmp(real, b->app, len) == 0 &&
           (real[len] == '/' || len == 1);
}

/* The whole file, or NULL and why not.  Only regular files are opened: a
 * pipe would never end. */
static char *read_file(const char *path, size_t *len, const char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    ssize_t n = 0;
    char *text;

    *why = strerror(errno);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        *why = st.st_size > FILE_MAX ? "is larger than 16 MB" : "is no file";
        close(fd);
        return NULL;
    }
    text = mem_alloc((size_t)st.st_size + 1);
    *len = 0;
    while (*len < (size_t)st.st_size &&
           (n = read(fd, text + *len, (size_t)st.st_size - *len)) > 0)
        *len += (size_t)n;
    *why = strerror(errno);
    close(fd);
    if (n < 0) {
        mem_free(text);
        return NULL;
    }
    return text;
}

/* read(root, name): text, or nil and why */
static int host_read(lua_State *L)
{
    const struct builder *b = builder_of(L);
    const char *root = luaL_checkstring(L, 1), *why = NULL;
    char path[PATH_MAX], *text = NULL;
    size_t len;

    full_path(b, path, root, luaL_checkstring(L, 2));
    if (strcmp(root, "app") == 0 && access(path, F_OK) == 0 &&
        !is_inside(b, path))
        why = "is a link out of the application folder";
    else
        text = read_file(path, &len, &why);
    if (text == NULL) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    lua_pushlstring(L, text, len);
    mem_free(text);
    return 1;
}

static void push_entry(lua_State *L, const char *dir, const char *name)
{
    char path[PATH_MAX + 256];
    struct stat st;
    bool is_dir;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    is_dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, is_dir ? "dir" : "file");
    lua_setfield(L, -2, "kind");
}

/* list(root, name): { {name=, kind=}... }, or nil where there is no folder.
 * A link to a folder outside counts as empty: its files are not ours. */
static int host_list(lua_State *L)
{
    const struct builder *b = builder_of(L);
    const char *root = luaL_checkstring(L, 1);
    char path[PATH_MAX];
    struct dirent *e;
    int n = 0;
    DIR *dir;

    full_path(b, path, root, luaL_checkstring(L, 2));
    dir = opendir(path);
    if (dir == NULL)
        return 0;
    lua_newtable(L);
    if (strcmp(root, "app") != 0 || is_inside(b, path)) {
        while ((e = readdir(dir)) != NULL) {
            if (e->d_name[0] == '.')
                continue;
            push_entry(L, path, e->d_name);
            lua_rawseti(L, -2, ++n);
        }
    }
    closedir(dir);
    return 1;
}

static int host_on_file(lua_State *L)
{
    const struct conf_build_opts *opts = builder_of(L)->opts;

    if (opts->on_file != NULL)
        opts->on_file(opts->arg, luaL_checkstring(L, 1));
    return 0;
}

/* --- the schema ----------------------------------------------------------- */

static void set_string(lua_State *L, const char *name, const char *value)
{
    if (value != NULL) {
        lua_pushstring(L, value);
        lua_setfield(L, -2, name);
    }
}

static void set_bool(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void push_keys(lua_State *L)
{
    const struct conf_key *key;
    unsigned i;

    lua_newtable(L);
    for (i = 0; (key = conf_key_at(i)) != NULL; i++) {
        lua_newtable(L);
        lua_pushinteger(L, i);
        lua_setfield(L, -2, "index");
        set_string(L, "path", key->path);
        set_string(L, "type", type_words[key->type]);
        set_string(L, "fallback", key->fallback);
        set_string(L, "choices", key->choices);
        set_string(L, "doc", key->doc);
        set_bool(L, "reload", key->reload);
        set_bool(L, "secret", key->secret);
        set_bool(L, "needed", key->needed);
        set_bool(L, "nullable", key->nullable);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static const struct conf_key *check_key(lua_State *L, int idx)
{
    const struct conf_key *key = conf_key_at((unsigned)luaL_checkint(L, idx));

    luaL_argcheck(L, key != NULL, idx, "no such key");
    return key;
}

/* key_read(index, text): seconds, bytes, a number, a boolean or the text; or
 * nil and why */
static int host_key_read(lua_State *L)
{
    const struct conf_key *key = check_key(L, 1);
    const char *text = luaL_checkstring(L, 2);
    struct conf_value v;
    char why[WHY_MAX];

    if (conf_value_read(&v, key, text, why, sizeof(why)) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    if (key->type == CONF_BOOL)
        lua_pushboolean(L, v.yes);
    else if (key->type == CONF_INT || key->type == CONF_NUMBER ||
             key->type == CONF_DURATION || key->type == CONF_SIZE)
        lua_pushnumber(L, v.number);
    else
        lua_pushvalue(L, 2);
    return 1;
}

static int host_type_name(lua_State *L)
{
    const struct conf_key *key = check_key(L, 1);

    lua_pushstring(L, conf_type_name(key->type));
    if (key->choices != NULL && key->type != CONF_CHOICE)
        lua_pushfstring(L, " or %s", key->choices);
    else if (key->type == CONF_CHOICE)
        lua_pushfstring(L, " (%s)", key->choices);
    else
        return 1;
    lua_concat(L, 2);
    return 1;
}

/* key_find(path): the key's row */
static int host_key_find(lua_State *L)
{
    struct slice path = slice_str(luaL_checkstring(L, 1));
    const struct conf_key *key = conf_key_find(path);

    if (key == NULL)
        return 0;
    lua_getfield(L, lua_upvalueindex(2), "keys");
    lua_rawgeti(L, -1, (int)(key - conf_key_at(0)) + 1);
    return 1;
}

/* --- data ----------------------------------------------------------------- */

static int push_encoded(lua_State *L, struct buf *out, int err, const char *why)
{
    if (err < 0) {
        buf_fini(out);
        return luaL_error(L, "%s", why);
    }
    lua_pushlstring(L, buf_slice(out).p, out->len);
    buf_fini(out);
    return 1;
}

static int host_json(lua_State *L)
{
    const char *why = NULL;
    struct buf out = {0};

    return push_encoded(L, &out, lua_json_encode(L, 1, &out, &why), why);
}

static int host_msgpack(lua_State *L)
{
    const char *why = NULL;
    struct buf out = {0};

    return push_encoded(L, &out, lua_msgpack_encode(L, 1, &out, &why), why);
}

static int host_getenv(lua_State *L)
{
    lua_getfield(L, lua_upvalueindex(2), "environ");
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
    return 1;
}

static void push_environ(lua_State *L, char *const *environ_list)
{
    lua_newtable(L);
    for (; environ_list != NULL && *environ_list != NULL; environ_list++) {
        const char *equals = strchr(*environ_list, '=');

        if (equals == NULL)
            continue;
        lua_pushlstring(L, *environ_list, (size_t)(equals - *environ_list));
        lua_pushstring(L, equals + 1);
        lua_rawset(L, -3);
    }
}

static void push_flags(lua_State *L, char *const *flags)
{
    int n = 0;

    lua_newtable(L);
    for (; flags != NULL && *flags != NULL; flags++) {
        lua_pushstring(L, *flags);
        lua_rawseti(L, -2, ++n);
    }
}

static void push_host(lua_State *L, struct builder *b)
{
    static const luaL_Reg functions[] = {
        {"read", host_read},         {"list", host_list},
        {"on_file", host_on_file},   {"key_read", host_key_read},
        {"key_find", host_key_find}, {"type_name", host_type_name},
        {"json", host_json},         {"msgpack", host_msgpack},
        {"getenv", host_getenv},     {NULL, NULL},
    };
    struct rlimit fds = {0};
    const luaL_Reg *f;

    getrlimit(RLIMIT_NOFILE, &fds);
    lua_newtable(L);
    for (f = functions; f->name != NULL; f++) {
        lua_pushlightuserdata(L, b);
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, f->func, 2);
        lua_setfield(L, -2, f->name);
    }
    push_keys(L);
    lua_setfield(L, -2, "keys");
    push_environ(L, b->opts->environ);
    lua_setfield(L, -2, "environ");
    push_flags(L, b->opts->flags);
    lua_setfield(L, -2, "flags");
    lua_pushnumber(L, (lua_Number)fds.rlim_max);
    lua_setfield(L, -2, "fd_limit");
}

/* --- the result ----------------------------------------------------------- */

static const char *field(lua_State *L, const char *name)
{
    const char *text;

    lua_getfield(L, -1, name);
    text = lua_tostring(L, -1);
    lua_pop(L, 1); /* the table still holds it */
    return text != NULL ? text : "";
}

static unsigned line_of(lua_State *L)
{
    lua_Integer line;

    lua_getfield(L, -1, "line");
    line = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return (unsigned)line;
}

/* Notes of the table on top, into the report. */
static void take_notes(lua_State *L, struct builder *b)
{
    size_t i, n = lua_objlen(L, -1);

    for (i = 1; i <= n; i++) {
        struct conf_note note;

        lua_rawgeti(L, -1, (int)i);
        note.error = strcmp(field(L, "severity"), "error") == 0;
        note.file = field(L, "file");
        note.text = field(L, "text");
        note.line = line_of(L);
        conf_note_add(b->report, &note);
        b->failed = b->failed || note.error;
        lua_pop(L, 1);
    }
}

static void take_files(lua_State *L, struct builder *b)
{
    size_t i, n = lua_objlen(L, -1);

    bundle_begin(b->bundle);
    for (i = 1; i <= n; i++) {
        const char *text;
        size_t len;

        lua_rawgeti(L, -1, (int)i);
        lua_getfield(L, -1, "text");
        text = lua_tolstring(L, -1, &len);
        lua_getfield(L, -2, "name");
        bundle_add(b->bundle, lua_tostring(L, -1), slice_make(text, len));
        lua_pop(L, 3);
    }
    bundle_end(b->bundle);
}

/* Everything that may raise, below one lua_cpcall(). */
static int build(lua_State *L)
{
    struct builder *b = lua_touserdata(L, 1);

    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_pushfstring(L, "%s/?.lua", b->opts->framework_dir);
    lua_setfield(L, -2, "path");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "sd.conf");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "build");
    push_host(L, b);
    lua_call(L, 1, 1);

    lua_getfield(L, -1, "notes");
    take_notes(L, b);
    lua_pop(L, 1);
    lua_getfield(L, -1, "files");
    if (lua_istable(L, -1) && !b->failed)
        take_files(L, b);
    return 0;
}

static void *limited_alloc(void *arg, void *p, size_t old, size_t size)
{
    struct builder *b = arg;
    void *q;

    if (size == 0) {
        b->memory -= old;
        free(p);
        return NULL;
    }
    if (size > old && b->memory + (size - old) > MEMORY_MAX)
        return NULL;
    q = realloc(p, size);
    if (q != NULL)
        b->memory += size - old;
    return q;
}

static void complain(struct buf *report, const char *file, const char *text)
{
    struct conf_note note = {.error = true, .file = file, .text = text};

    conf_note_add(report, &note);
}

int conf_build(const struct conf_build_opts *opts, struct buf *bundle,
               struct buf *report)
{
    struct builder b = {.opts = opts, .bundle = bundle, .report = report};
    const char *dir = opts->app_dir != NULL ? opts->app_dir : ".";
    size_t before = bundle->len;
    lua_State *L;

    if (realpath(dir, b.app) == NULL) {
        complain(report, dir, strerror(errno));
        return SD_EINVALID;
    }
    L = lua_newstate(limited_alloc, &b);
    sd_assert(L != NULL);
    if (lua_cpcall(L, build, &b) != 0) {
        const char *text = lua_tostring(L, -1);

        complain(report, "", text != NULL ? text : "failed without a text");
        b.failed = true;
    }
    lua_close(L);
    if (b.failed)
        buf_truncate(bundle, before);
    return b.failed ? SD_EINVALID : 0;
}
