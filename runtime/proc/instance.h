/* instance.h - a node or a dispatch: what is called how in run/.
 *
 * One folder may hold one of each.  A process, also one of a verb, is about
 * one of them, so this is said once, before anything else. */
#ifndef SD_PROC_INSTANCE_H
#define SD_PROC_INSTANCE_H

#include <stdbool.h>

enum instance_part { /* bits */
    INSTANCE_NODE = 1,
    INSTANCE_DISPATCH = 2
};

/* What this process is about: a node, a dispatch, or (both) a node with a
 * dispatch inside, which has the names of a node.  A node, unless told. */
void instance_set(unsigned is_about);
unsigned instance_parts(void);

const char *instance_word(void); /* "node" or "dispatch" */

const char *instance_pidfile(void); /* run/sdlua.pid */
const char *instance_control(void); /* run/control.sock */
const char *instance_log(void);     /* run/sdlua.log, of a daemon */

#endif
