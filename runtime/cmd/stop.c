/* stop.c - ask the master to stop, and see it gone. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/err.h"
#include "cmd/cmd.h"
#include "cmd/gone.h"
#include "proc/ctl.h"
#include "proc/instance.h"
#include "proc/pidfile.h"

/* A master that is still starting has no control socket yet. */
static int stop_by_signal(bool now)
{
    pid_t pid = pidfile_owner(instance_pidfile());

    if (pid == 0) {
        cmd_complain("not running");
        return CMD_NOT_RUNNING;
    }
    if (kill(pid, now ? SIGQUIT : SIGTERM) < 0 ||
        gone_wait(-1, GONE_EVER) < 0) {
        cmd_complain("cannot stop pid %d", (int)pid);
        return CMD_FAILED;
    }
    return CMD_DONE;
}

int cmd_stop(const struct cmd *cmd)
{
    struct buf reply = {0};
    int fd = ctl_ask(cmd->now ? "stop-now" : "stop", &reply);

    buf_fini(&reply);
    if (fd == -ENOENT || fd == -ECONNREFUSED || fd == SD_ECLOSED)
        return stop_by_signal(cmd->now);
    if (fd < 0) {
        cmd_complain("%s: %s", instance_control(), err_str(fd));
        return CMD_FAILED;
    }
    if (gone_wait(fd, GONE_EVER) < 0) {
        cmd_complain("the master does not end");
        return CMD_FAILED;
    }
    if (cmd->json)
        puts("{\"ok\":true}");
    return CMD_DONE;
}
