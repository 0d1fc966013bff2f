/* reload.c - ask the master for the next generation, say what came of it. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "cmd/cmd.h"
#include "proc/ctl.h"
#include "proc/instance.h"
#include "proc/reload_answer.h"

static void complain(void *arg, struct slice text)
{
    (void)arg;
    cmd_complain("%.*s", (int)text.len, text.p);
}

static int print(struct slice answer, bool json)
{
    struct reload_answer a = {.on_text = complain};

    if (json) /* for who reads the lines too: the texts go to stderr */
        printf("%.*s\n", (int)answer.len, answer.p);
    reload_answer_read(&a, answer);
    if (a.ok && !json && instance_parts() == INSTANCE_DISPATCH)
        printf("generation %u\n", a.generation);
    else if (a.ok && !json)
        printf("generation %u: %u workers, %u tasks\n", a.generation, a.workers,
               a.tasks);
    return a.ok ? CMD_DONE : CMD_FAILED;
}

int cmd_reload(const struct cmd *cmd)
{
    struct buf reply = {0};
    int fd, status = CMD_FAILED;

    if (cmd->cluster)
        return cmd_reload_cluster(cmd);
    fd = ctl_ask("reload", &reply);
    if (fd == -ENOENT || fd == -ECONNREFUSED) {
        cmd_complain("not running");
        status = CMD_NOT_RUNNING;
    } else if (fd < 0) {
        cmd_complain("%s: %s", instance_control(), err_str(fd));
    } else {
        close(fd);
        buf_truncate(&reply, reply.len - 1); /* its newline */
        status = print(buf_slice(&reply), cmd->json);
    }
    buf_fini(&reply);
    return status;
}
