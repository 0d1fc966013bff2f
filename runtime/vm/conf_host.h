/* conf_host.h - what C gives to lua/sd/conf.lua: the table `host`.
 *
 *     read(root, name)      text, or nil and why; root "app", "lib" or "any"
 *     list(root, name)      { {name=, kind="dir"|"file"}... }, nil: no folder
 *     on_file(name)         says what is worked on
 *     keys                  the schema, one table a key
 *     key_read(index, text) the value, or nil and why
 *     key_find(path)        the key that a path names
 *     type_name(index)      the type in words
 *     json(v) msgpack(v)    encoded
 *     redis_url(text) cluster_key(text) what is wrong with it
 *     getenv(name) environ flags fd_limit is_dispatch
 */
#ifndef SD_VM_CONF_HOST_H
#define SD_VM_CONF_HOST_H

#include <limits.h>
#include <lua.h>

#include "vm/conf_lua.h"

struct conf_host {
    const struct conf_build_opts *opts;
    char app[PATH_MAX]; /* the real path of the application folder */
};

/* Push the table.  `h` is kept as long as the Lua state. */
void conf_host_push(lua_State *L, struct conf_host *h);

#endif
