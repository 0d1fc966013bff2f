/* master.h - the process that opens everything, starts the others and
 * supervises them.  No Lua, no bytes of clients. */
#ifndef SD_PROC_MASTER_H
#define SD_PROC_MASTER_H

#include <stdbool.h>

#define MASTER_PIDFILE "run/sdlua.pid"

struct master_options {
    bool daemon;         /* daemon_fork() was called: let the caller go */
    const char *version; /* of sdlua */
};

/* The whole life of the node in the current folder.  What goes wrong before
 * it serves is said in one line on stderr and leaves nothing behind.  The
 * exit status. */
int master_run(const struct master_options *options);

#endif
