/* conf_lua.h - from an application folder to its bundle.
 *
 * This is the work of a short-lived process: it evaluates the application's
 * configuration and compiles its scripts, so it may be killed, run as another
 * user, and forgotten.  Nothing here outlives the call. */
#ifndef SD_VM_CONF_LUA_H
#define SD_VM_CONF_LUA_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"
#include "vm/conf_note.h"

struct conf_build_opts {
    const char *app_dir;       /* NULL: the current folder */
    const char *framework_dir; /* the folder that holds sd/ */
    char *const *environ;      /* NAME=value, NULL at the end */
    char *const *flags;        /* "server.workers=4", or NULL */
    bool is_dispatch;          /* alone: no scripts, no ports, no Redis */
    struct slice running;      /* "config" of the bundle that a reload shall
                                  replace; len 0: it is a start */

    /* Called with the name of each file before it is run or read, so that a
     * parent who kills us knows what hung.  May be NULL. */
    void (*on_file)(void *arg, const char *name);

    /* A descriptor of the file that a variable's _FILE names, which stays the
     * callee's, or -1: open it here.  May be NULL. */
    int (*on_secret)(void *arg, const char *path);
    void *arg;
};

/* Evaluate, check, compile; everything that is wrong is reported at once.
 * Returns 0 and fills the empty `bundle` (base/bundle.h), or SD_EINVALID and
 * leaves it empty.  `report` takes notes for conf_note_next() either way.
 *
 * Beside the names of base/bundle.h the bundle holds "origin", four texts with
 * a NUL behind each per key: path, value as JSON, where it came from, and
 * "reload" or nothing; and "routes": port, controller, method, file:line. */
int conf_build(const struct conf_build_opts *opts, struct buf *bundle,
               struct buf *report);

#endif
