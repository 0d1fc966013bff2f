/* reload.c - ask the master for the next generation, say what came of it. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "cmd/cmd.h"
#include "codec/json.h"
#include "proc/ctl.h"
#include "proc/instance.h"

/* What the answer's map says; the rest is printed as it is read. */
struct outcome {
    bool ok;
    double generation, workers, tasks;
};

static void take_number(struct outcome *o, struct slice key, double n)
{
    if (slice_is(key, "generation"))
        o->generation = n;
    else if (slice_is(key, "workers"))
        o->workers = n;
    else if (slice_is(key, "tasks"))
        o->tasks = n;
}

static void read_answer(struct outcome *o, struct slice text)
{
    struct buf scratch = {0}, key = {0};
    struct json j;
    int token;

    json_init(&j, text, &scratch);
    while ((token = json_next(&j)) > JSON_END) {
        if (token == JSON_KEY) {
            buf_truncate(&key, 0);
            buf_append(&key, j.text.p, j.text.len);
        } else if (token == JSON_TRUE) {
            o->ok = true;
        } else if (token == JSON_NUMBER) {
            take_number(o, buf_slice(&key), j.number);
        } else if (token == JSON_STRING) {
            cmd_complain("%.*s", (int)j.text.len, j.text.p);
        }
    }
    buf_fini(&key);
    buf_fini(&scratch);
}

static int print(struct slice answer, bool json)
{
    struct outcome o = {0};

    if (json) /* for who reads the lines too: the texts go to stderr */
        printf("%.*s\n", (int)answer.len, answer.p);
    read_answer(&o, answer);
    if (o.ok && !json && instance_parts() == INSTANCE_DISPATCH)
        printf("generation %.0f\n", o.generation);
    else if (o.ok && !json)
        printf("generation %.0f: %.0f workers, %.0f tasks\n", o.generation,
               o.workers, o.tasks);
    return o.ok ? CMD_DONE : CMD_FAILED;
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
