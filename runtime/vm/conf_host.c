/* conf_host.c - see conf_host.h.
 *
 * Each function carries two upvalues: the struct and the table itself, which
 * holds the schema's keys and the environment as Lua tables. */
#include "vm/conf_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf_schema.h"
#include "base/conf_value.h"
#include "base/mem.h"
#include "cluster/keys.h"
#include "store/redis_url.h"
#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"

enum {
    FILE_MAX = 16 * 1024 * 1024,
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

static const struct conf_host *host_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* --- files ---------------------------------------------------------------- */

/* The path of `name` below one of the roots "app" and "lib". */
static void full_path(const struct conf_host *h, char *path, const char *root,
                      const char *name)
{
    const char *dir =
        strcmp(root, "lib") == 0 ? h->opts->framework_dir : h->app;

    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        path[0] = '\0'; /* too long: no such file */
}

/* Links may point about inside the application, never out of it. */
static bool is_inside(const struct conf_host *h, const char *path)
{
    char real[PATH_MAX];
    size_t len = strlen(h->app);

    return realpath(path, real) != NULL && strncmp(real, h->app, len) == 0 &&
           (real[len] == '/' || len == 1);
}

/* The whole file, or NULL and why not. */
static char *read_fd(int fd, size_t *len, const char **why)
{
    struct stat st;
    ssize_t n = 0;
    char *text;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        *why = st.st_size > FILE_MAX ? "is larger than 16 MB" : "is no file";
        return NULL;
    }
    text = mem_alloc((size_t)st.st_size + 1);
    *len = 0;
    while (*len < (size_t)st.st_size &&
           (n = pread(fd, text + *len, (size_t)st.st_size - *len,
                      (off_t)*len)) > 0)
        *len += (size_t)n;
    *why = strerror(errno);
    if (n < 0) {
        mem_free(text);
        return NULL;
    }
    return text;
}

/* Only regular files are opened: a pipe would never end. */
static char *read_file(const char *path, size_t *len, const char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *text;

    *why = strerror(errno);
    if (fd < 0)
        return NULL;
    text = read_fd(fd, len, why);
    close(fd);
    return text;
}

static void push_text(lua_State *L, char *text, size_t len)
{
    lua_pushlstring(L, text, len);
    mem_free(text);
}

static int push_failure(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* read(root, name): text, or nil and why */
static int host_read(lua_State *L)
{
    const struct conf_host *h = host_of(L);
    const char *root = luaL_checkstring(L, 1), *why = NULL;
    char path[PATH_MAX], *text = NULL;
    size_t len;

    full_path(h, path, root, luaL_checkstring(L, 2));
    if (strcmp(root, "app") == 0 && access(path, F_OK) == 0 &&
        !is_inside(h, path))
        why = "is a link out of the application folder";
    else
        text = read_file(path, &len, &why);
    if (text == NULL)
        return push_failure(L, why);
    push_text(L, text, len);
    return 1;
}

/* secret(path): the text of a file anywhere, or nil and why */
static int host_secret(lua_State *L)
{
    const struct conf_host *h = host_of(L);
    const char *path = luaL_checkstring(L, 1), *why = NULL;
    char *text;
    size_t len;
    int fd = -1;

    if (h->opts->on_secret != NULL)
        fd = h->opts->on_secret(h->opts->arg, path);
    text = fd >= 0 ? read_fd(fd, &len, &why) : read_file(path, &len, &why);
    if (text == NULL)
        return push_failure(L, why);
    push_text(L, text, len);
    return 1;
}

/* redis_url(text): nothing when it is good, else why not */
static int host_redis_url(lua_State *L)
{
    struct redis_url url;
    const char *why = NULL;

    if (redis_url_parse(&url, luaL_checkstring(L, 1), "redis.sock", &why) == 0)
        return 0;
    lua_pushstring(L, why);
    return 1;
}

/* cluster_key(text): nothing when it is one, else why not */
static int host_cluster_key(lua_State *L)
{
    uint8_t secret[KEYS_SECRET];
    struct slice text;

    text.p = luaL_checklstring(L, 1, &text.len);
    if (keys_read(secret, text) < 0) {
        lua_pushliteral(L, "no base64 of 32 bytes");
        return 1;
    }
    explicit_bzero(secret, sizeof(secret));
    return 0;
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
    const struct conf_host *h = host_of(L);
    const char *root = luaL_checkstring(L, 1);
    char path[PATH_MAX];
    struct dirent *e;
    int n = 0;
    DIR *dir;

    full_path(h, path, root, luaL_checkstring(L, 2));
    dir = opendir(path);
    if (dir == NULL)
        return 0;
    lua_newtable(L);
    if (strcmp(root, "app") != 0 || is_inside(h, path)) {
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
    const struct conf_build_opts *opts = host_of(L)->opts;

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

static void push_running(lua_State *L, struct slice config)
{
    const char *why = NULL;

    if (config.len == 0)
        lua_pushnil(L);
    else if (lua_msgpack_decode(L, config, &why) < 0)
        luaL_error(L, "the running configuration: %s", why);
}

void conf_host_push(lua_State *L, struct conf_host *h)
{
    static const luaL_Reg functions[] = {
        {"read", host_read},
        {"list", host_list},
        {"on_file", host_on_file},
        {"key_read", host_key_read},
        {"key_find", host_key_find},
        {"type_name", host_type_name},
        {"json", host_json},
        {"msgpack", host_msgpack},
        {"getenv", host_getenv},
        {"secret", host_secret},
        {"redis_url", host_redis_url},
        {"cluster_key", host_cluster_key},
        {NULL, NULL},
    };
    struct rlimit fds = {0};
    const luaL_Reg *f;

    getrlimit(RLIMIT_NOFILE, &fds);
    lua_newtable(L);
    for (f = functions; f->name != NULL; f++) {
        lua_pushlightuserdata(L, h);
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, f->func, 2);
        lua_setfield(L, -2, f->name);
    }
    push_keys(L);
    lua_setfield(L, -2, "keys");
    push_environ(L, h->opts->environ);
    lua_setfield(L, -2, "environ");
    push_flags(L, h->opts->flags);
    lua_setfield(L, -2, "flags");
    push_running(L, h->opts->running);
    lua_setfield(L, -2, "running");
    lua_pushnumber(L, (lua_Number)fds.rlim_max);
    lua_setfield(L, -2, "fd_limit");
    lua_pushboolean(L, h->opts->is_dispatch);
    lua_setfield(L, -2, "is_dispatch");
}
