/* daemon.h - `start -d`: the caller returns when the daemon serves. */
#ifndef SD_PROC_DAEMON_H
#define SD_PROC_DAEMON_H

/* Fork, before any thread is made.  In the parent this returns only the exit
 * status to leave with (0 or more), once the daemon has called
 * daemon_ready() or ended without.  In the daemon it returns -1; until
 * daemon_ready() it still writes to the caller's terminal. */
int daemon_fork(void);

/* In the daemon: let the caller go with success, and leave its terminal;
 * stdout and stderr go to `log` (borrowed) from now on. */
void daemon_ready(int log);

#endif
