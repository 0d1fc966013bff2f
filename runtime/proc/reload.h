/* reload.h - one reload of a node, from the configuration child to the commit.
 *
 * The master reads the application anew, lets every worker and idle task make
 * the new generation beside the old one, and when all of them have it, commits
 * it by one store.  Whatever goes wrong before leaves everything as it was. */
#ifndef SD_PROC_RELOAD_H
#define SD_PROC_RELOAD_H

#include <stdbool.h>

#include "base/buf.h"
#include "proc/crew.h"
#include "proc/ctl.h"
#include "proc/node.h"

struct reload;

/* All is borrowed until reload_free().  While server.dev is set, a file that
 * is saved is a reload. */
struct reload *reload_new(struct loop *loop, struct node *node,
                          struct mesh *mesh, struct crew *crew);

/* Ends one that is under way. */
void reload_free(struct reload **rp);

/* Begin; `call`, which is taken, gets the answer, NULL: only the log does.
 * One that is under way goes on, and this one is refused. */
void reload_begin(struct reload *r, struct ctl_call *call);

/* End the one that is under way: why for people. */
void reload_cancel(struct reload *r, const char *why);

/* The crew's hook. */
void reload_on_built(struct reload *r, const char *why);

/* Call at SIGCHLD, with a pid from waitpid(): true if it was the
 * configuration child's. */
bool reload_on_exit(struct reload *r, int pid, int status);

#endif
