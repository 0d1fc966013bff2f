/* master.h - the process that opens everything, starts the others and
 * supervises them.  No Lua, no bytes of clients. */
#ifndef SD_PROC_MASTER_H
#define SD_PROC_MASTER_H

#include "proc/node.h"

/* The whole life of the node in the current folder.  What goes wrong before
 * it serves is said on stderr, one line an error, and leaves nothing behind.
 * The exit status. */
int master_run(const struct node_options *options);

#endif
