/* reload_cluster.c - have all nodes reload, one after the other, and say what
 * came of each.
 *
 * The agent tells of every node as it goes (proc/rolling.h); if this verb is
 * interrupted, no further node begins. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cmd/cmd.h"
#include "cmd/inside.h"
#include "cmd/row.h"
#include "proc/ctl.h"
#include "proc/instance.h"

enum {
    PATIENCE = 150000 /* ms for one node: longer than its master has */
};

/* What a line says, while it is read. */
struct line {
    struct row row; /* its plain fields */
    bool is_last;
    bool is_quiet; /* the nodes are not listed */
};

static void print_node(void *ctx, const struct row *row)
{
    const struct line *line = ctx;
    char name[4 * ROW_TEXT];

    row_printable(name, sizeof(name), row_get(row, "node"));
    if (!line->is_quiet)
        printf("%-20s %4s  %s\n", name, row_get(row, "generation"),
               row_get(row, "state"));
}

/* Each on a line of stderr. */
static bool complain_all(struct json *j, const char *node)
{
    int token = json_next(j);

    if (token != JSON_LIST)
        return false;
    while ((token = json_next(j)) == JSON_STRING)
        cmd_complain("%s%s%.*s", node, node[0] != '\0' ? ": " : "",
                     (int)j->text.len, j->text.p);
    return token == JSON_LIST_END;
}

static bool read_field(struct line *line, struct json *j)
{
    if (slice_is(j->text, "nodes")) {
        line->is_last = true;
        line->is_quiet |= row_get(&line->row, "ok")[0] != '\0';
        if (!line->is_quiet)
            printf("%-20s %4s\n", "node", "gen");
        return row_read_list(j, print_node, line);
    }
    if (slice_is(j->text, "errors"))
        return complain_all(j, "");
    if (slice_is(j->text, "notes"))
        return complain_all(j, row_get(&line->row, "node"));
    return row_read_field(&line->row, j);
}

/* False: it is none of ours. */
static bool read_line(struct line *line, struct slice text)
{
    struct buf scratch = {0};
    struct json j;
    int token;

    json_init(&j, text, &scratch);
    token = json_next(&j);
    if (token == JSON_MAP) {
        do
            token = json_next(&j);
        while (token == JSON_KEY && read_field(line, &j));
    }
    buf_fini(&scratch);
    return token == JSON_MAP_END;
}

static int show(const struct cmd *cmd, struct inside *agent)
{
    for (;;) {
        struct line line = {.is_quiet = cmd->json};
        struct slice text;
        const char *node, *error;
        int err = inside_line(agent, &text, PATIENCE);

        if (err < 0 || !read_line(&line, text)) {
            cmd_complain("the agent ended amid it: see sdlua status --cluster");
            return CMD_FAILED;
        }
        error = row_get(&line.row, "error");
        node = row_get(&line.row, "node");
        if (error[0] != '\0')
            cmd_complain("%s", error);
        if (cmd->json && (line.is_last || error[0] != '\0'))
            printf("%.*s\n", (int)text.len, text.p);
        else if (node[0] != '\0' && !cmd->json)
            printf("%s: generation %s\n", node,
                   row_get(&line.row, "generation"));
        fflush(stdout);
        if (line.is_last || error[0] != '\0')
            return row_get(&line.row, "ok")[0] != '\0' ? CMD_DONE : CMD_FAILED;
    }
}

int cmd_reload_cluster(const struct cmd *cmd)
{
    struct inside agent = {.fd = ctl_tell("reload-cluster")};
    int err = agent.fd, status;

    if (err == -ENOENT || err == -ECONNREFUSED) {
        cmd_complain("not running");
        return CMD_NOT_RUNNING;
    }
    if (err < 0) {
        cmd_complain("%s: %s", instance_control(), err_str(err));
        return CMD_FAILED;
    }
    status = show(cmd, &agent);
    inside_close(&agent);
    return status;
}
