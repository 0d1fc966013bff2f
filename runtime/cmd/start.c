/* start.c - become the master; with -d in a process of its own. */
#include "cmd/cmd.h"
#include "proc/daemon.h"
#include "proc/instance.h"
#include "proc/master.h"

int cmd_start(const struct cmd *cmd)
{
    struct node_options options = {
        .daemon = cmd->daemon,
        .version = SD_VERSION,
    };

    if (cmd->dispatch)
        instance_set(instance_parts() | INSTANCE_DISPATCH);
    if (cmd->daemon) {
        int status = daemon_fork();

        if (status >= 0)
            return status;
    }
    return master_run(&options);
}
