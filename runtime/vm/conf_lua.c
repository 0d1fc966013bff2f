/* conf_lua.c - see conf_lua.h.
 *
 * The work itself is Lua (lua/sd/conf.lua and lua/sd/conf/), because it is
 * about Lua tables and texts and runs once.  This file makes the state it
 * runs in and carries the result out.
 *
 * The state may use 1 GiB and then fails with "not enough memory": a
 * configuration that grows for ever ends here, not the machine. */
#include "vm/conf_lua.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bundle.h"
#include "base/conf.h"
#include "base/err.h"
#include "net/format.h"
#include "vm/conf_host.h"

#define MEMORY_MAX ((size_t)1024 * 1024 * 1024)

struct builder {
    struct conf_host host;
    size_t memory;
    struct buf *bundle, *report;
    bool failed;
};

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
    lua_pushfstring(L, "%s/?.lua", b->host.opts->framework_dir);
    lua_setfield(L, -2, "path");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "sd.conf");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "build");
    conf_host_push(L, &b->host);
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

/* ... and what every worker can serve. */
static bool can_serve(const struct conf *conf, struct buf *report)
{
    bool can = true;

    for (unsigned i = 0; i < conf->nports; i++) {
        const char *why = NULL;
        struct format *f = NULL;
        char text[256];

        if (format_new(&f, &conf->ports[i], &why) == 0) {
            format_unref(f);
            continue;
        }
        snprintf(text, sizeof(text), "ports.%s: %s", conf->ports[i].name, why);
        complain(report, "config/ports.lua", text);
        can = false;
    }
    return can;
}

/* What the schema let pass must be what every process can read. */
static bool is_readable(struct buf *bytes, struct buf *report)
{
    struct bundle *bundle = NULL;
    struct slice entries = {0};
    const char *why = "no bundle";
    struct conf *conf = NULL;
    bool can = true;

    if (bundle_open_bytes(&bundle, buf_slice(bytes)) == 0) {
        bundle_get(bundle, "conf", &entries);
        if (conf_open(&conf, entries, &why) == 0)
            why = NULL;
    }
    if (why != NULL)
        complain(report, "config", why);
    else
        can = can_serve(conf, report);
    conf_close(&conf);
    bundle_close(&bundle);
    return why == NULL && can;
}

int conf_build(const struct conf_build_opts *opts, struct buf *bundle,
               struct buf *report)
{
    struct builder b = {.bundle = bundle, .report = report};
    const char *dir = opts->app_dir != NULL ? opts->app_dir : ".";
    lua_State *L;

    b.host.opts = opts;
    if (realpath(dir, b.host.app) == NULL) {
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
    b.failed = b.failed || !is_readable(bundle, report);
    if (b.failed)
        buf_truncate(bundle, 0);
    return b.failed ? SD_EINVALID : 0;
}
