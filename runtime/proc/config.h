/* config.h - the configuration child: from the files of the application to
 * one sealed bundle. */
#ifndef SD_PROC_CONFIG_H
#define SD_PROC_CONFIG_H

#include <stdbool.h>

#include "base/buf.h"
#include "loop/loop.h"
#include "proc/heritage.h"
#include "proc/user.h"

/* How long configuration and scripts may take until they are loaded:
 * 10 s, or SD_CONFIG_SECONDS of the environment. */
unsigned config_seconds(void);

/* Master.  Run the child as `owner` in the current folder and wait for it,
 * no longer than config_seconds(); its warnings are logged.  The sealed
 * bundle's descriptor (close-on-exec), or a negative code with one line an
 * error in `errors`. */
int config_load(const struct user *owner, struct buf *errors);

/* The same on a loop, for a node that runs. */
struct config_job;
struct config_order {
    const struct user *owner;
    int running; /* its bundle: what a reload cannot apply stays as it is
                  * there, and a warning says so */
    /* Once, never inside config_begin(): the descriptor and warnings, or a
     * negative code and errors, a line each. */
    void (*on_done)(void *arg, int fd, const char *notes);
    void *arg;
};

/* Borrows the order.  0, or a negative code with a line in `errors`. */
int config_begin(struct config_job **out, struct loop *loop,
                 const struct config_order *order, struct buf *errors);

/* Call at SIGCHLD, with a pid from waitpid(): true if it was the job's. */
bool config_on_exit(struct config_job *j, int pid, int status);

/* End it; on_done() does not come any more.  After on_done() there is no job
 * any more. */
void config_cancel(struct config_job **jp);

/* Child.  Returns the exit status. */
int config_child(const struct heritage *h);

#endif
