/* restart.c - stop, then start; one that does not run is just started. */
#include "cmd/cmd.h"
#include "proc/node.h"
#include "proc/pidfile.h"

int cmd_restart(const struct cmd *cmd)
{
    if (pidfile_owner(NODE_PIDFILE) != 0) {
        int status = cmd_stop(cmd);

        if (status != CMD_DONE && status != CMD_NOT_RUNNING)
            return status;
    }
    return cmd_start(cmd);
}
