/* drain.c - ask the master to leave gently, and tell how far it is.
 *
 * The drain is the node's: a verb that is interrupted changes nothing of it,
 * and a second one only its pace. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "cmd/cmd.h"
#include "cmd/gone.h"
#include "cmd/row.h"
#include "proc/ctl.h"
#include "proc/drain.h"
#include "proc/instance.h"

enum {
    STEP = 200000000, /* ns between two looks */
    TELL = 1000,      /* ms between two lines */
};

/* The answer's one map; false: it is none. */
static bool read_answer(struct row *row, struct buf *reply)
{
    struct buf scratch = {0};
    struct json j;
    bool good;

    json_init(&j, buf_slice(reply), &scratch);
    *row = (struct row){0};
    good = json_next(&j) == JSON_MAP && row_read(row, &j);
    buf_fini(&scratch);
    return good;
}

static bool is_number(const char *text, long *n)
{
    char *end;

    errno = 0;
    *n = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

static void tell(const struct row *row)
{
    printf("%s conns left, %s a second\n", row_get(row, "conns"),
           row_get(row, "rate"));
    fflush(stdout);
}

/* Until the master does not drain any more. */
static void follow(const struct cmd *cmd, int fd)
{
    struct timespec step = {.tv_nsec = STEP};
    struct buf reply = {0};
    uint64_t told = clock_ms();
    struct row row;

    for (;;) {
        nanosleep(&step, NULL);
        buf_consume(&reply, reply.len);
        if (ctl_ask_again(fd, "left", &reply) < 0 ||
            !read_answer(&row, &reply) || row_get(&row, "ok")[0] == '\0')
            break;
        if (cmd->json || clock_ms() < told + TELL)
            continue;
        told = clock_ms();
        tell(&row);
    }
    buf_fini(&reply);
}

static int finish(const struct cmd *cmd, int fd, const struct row *first,
                  uint64_t began)
{
    if (gone_wait(fd, GONE_EVER) < 0) {
        cmd_complain("the master does not end");
        return CMD_FAILED;
    }
    if (cmd->json)
        printf("{\"ok\":true,\"conns\":%s,\"seconds\":%.3f}\n",
               row_get(first, "conns"), (double)(clock_ms() - began) / 1000);
    else
        puts("drained");
    return CMD_DONE;
}

static int run(const struct cmd *cmd, const char *line)
{
    uint64_t began = clock_ms();
    struct buf reply = {0};
    struct row row = {0};
    int fd = ctl_ask(line, &reply);
    bool good = fd >= 0 && read_answer(&row, &reply);

    buf_fini(&reply);
    if (fd == -ENOENT || fd == -ECONNREFUSED || fd == SD_ECLOSED) {
        cmd_complain("not running");
        return CMD_NOT_RUNNING;
    }
    if (fd < 0) {
        cmd_complain("%s: %s", instance_control(), err_str(fd));
        return CMD_FAILED;
    }
    if (!good || row_get(&row, "ok")[0] == '\0') {
        cmd_complain("it is stopping already");
        ctl_wait_end(fd, 0);
        return CMD_FAILED;
    }
    if (!cmd->json)
        tell(&row);
    follow(cmd, fd);
    return finish(cmd, fd, &row, began);
}

int cmd_drain(const struct cmd *cmd)
{
    char line[32] = "drain";
    long rate;

    if (cmd->rate != NULL) {
        if (!is_number(cmd->rate, &rate) || rate < 1 || rate > DRAIN_RATE_MAX) {
            cmd_complain("--rate: a number of conns a second, 1 to %d",
                         DRAIN_RATE_MAX);
            return CMD_USAGE;
        }
        snprintf(line, sizeof(line), "drain %ld", rate);
    }
    return run(cmd, line);
}
