/* watch.h - the application's files, while somebody works on them.
 *
 * With server.dev a file that is saved is a reload: no command to type. */
#ifndef SD_PROC_WATCH_H
#define SD_PROC_WATCH_H

#include "loop/loop.h"

struct watch;

/* Watch the Lua files of the current folder's config, scripts, lib and
 * lua_modules, also in folders made later.  `on_change` comes once they have
 * been quiet for a moment.  0 or -errno. */
int watch_open(struct watch **out, struct loop *loop,
               void (*on_change)(void *arg), void *arg);

/* Idempotent. */
void watch_close(struct watch **wp);

#endif
