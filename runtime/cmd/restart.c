/* restart.c - stop, then start; one that does not run is just started.
 *
 * What is wrong with the application is found before the running node is
 * stopped: then it goes on. */
#include "cmd/built.h"
#include "cmd/cmd.h"
#include "proc/instance.h"
#include "proc/pidfile.h"

/* Can this folder be started?  Says why not. */
static bool is_startable(void)
{
    struct built b;
    bool good = built_open(&b);

    if (!good)
        built_complain(&b, true);
    built_close(&b);
    return good;
}

int cmd_restart(const struct cmd *cmd)
{
    if (pidfile_owner(instance_pidfile()) != 0) {
        int status;

        if (!is_startable())
            return CMD_FAILED;
        status = cmd_stop(cmd);
        if (status != CMD_DONE && status != CMD_NOT_RUNNING)
            return status;
    }
    return cmd_start(cmd);
}
