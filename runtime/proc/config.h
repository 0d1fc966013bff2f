/* config.h - the configuration child: from the files of the application to
 * one sealed bundle. */
#ifndef SD_PROC_CONFIG_H
#define SD_PROC_CONFIG_H

#include "base/buf.h"
#include "proc/heritage.h"
#include "proc/user.h"

/* How long configuration and scripts may take until they are loaded:
 * 10 s, or SD_CONFIG_SECONDS of the environment. */
unsigned config_seconds(void);

/* Master.  Run the child as `owner` in the current folder and wait for it,
 * no longer than config_seconds(); its warnings are logged.  The sealed bundle's descriptor
 * (close-on-exec), or a negative code with one line an error in `errors`. */
int config_load(const struct user *owner, struct buf *errors);

/* Child.  Returns the exit status. */
int config_child(const struct heritage *h);

#endif
