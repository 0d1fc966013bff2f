/* status.c - the master's answer, as it is or as a table. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "cmd/cmd.h"
#include "cmd/row.h"
#include "codec/json.h"
#include "proc/ctl.h"
#include "proc/instance.h"
#include "proc/pidfile.h"

/* A line more for a worker that does not answer. */
static void print_blocked(const struct row *row)
{
    char at[4 * ROW_TEXT];

    if (row_get(row, "blocked")[0] == '\0')
        return;
    row_printable(at, sizeof(at), row_get(row, "blocked_at"));
    printf("           has not answered for %.1f s, in %s\n",
           row_number(row, "blocked"), at);
}

static void print_process(void *ctx, const struct row *row)
{
    char name[2 * ROW_TEXT + 2], age[32];

    (void)ctx;
    if (strcmp(row_get(row, "role"), "agent") == 0 ||
        strcmp(row_get(row, "role"), "redis") == 0)
        snprintf(name, sizeof(name), "%s", row_get(row, "role"));
    else
        snprintf(name, sizeof(name), "%s %s", row_get(row, "role"),
                 row_get(row, "index"));
    row_duration(age, sizeof(age), row_number(row, "uptime"));
    printf("%-10s %8s %-9s %9s %7s %8.1fM %6.1fM %7.1fms %4s %8s\n", name,
           row_get(row, "pid"), row_get(row, "state"), age,
           row_get(row, "conns"), row_number(row, "memory") / 1048576,
           row_number(row, "vm_memory") / 1048576,
           row_number(row, "loop_lag") * 1000, row_get(row, "generation"),
           row_get(row, "restarts"));
    print_blocked(row);
}

static void print_port(void *ctx, const struct row *row)
{
    (void)ctx;
    printf("%-16s %-9s %s port %s\n", row_get(row, "name"),
           row_get(row, "protocol"), row_get(row, "address"),
           row_get(row, "port"));
}

/* The first comes with the head of its table. */
static void print_slow(void *ctx, const struct row *row)
{
    static bool had_head;
    char age[32], uid[4 * ROW_TEXT];

    (void)ctx;
    if (!had_head)
        printf("\n%-16s %-6s %-20s %-22s %10s %9s\n", "slow clients", "worker",
               "uid", "address", "unsent", "for");
    had_head = true;
    row_duration(age, sizeof(age), row_number(row, "age"));
    row_printable(uid, sizeof(uid), row_get(row, "uid"));
    printf("%-16s %-6s %-20s %-15s %6s %9.1fK %9s\n", row_get(row, "port"),
           row_get(row, "worker"), uid, row_get(row, "address"),
           row_get(row, "peer_port"), row_number(row, "bytes") / 1024, age);
}

static bool print_field(struct json *j, struct row *head)
{
    char age[32];

    if (slice_is(j->text, "ports")) {
        row_duration(age, sizeof(age), row_number(head, "uptime"));
        printf("sdlua %s: %s %s, pid %s, generation %s, up %s, %s\n\n",
               row_get(head, "version"), instance_word(), row_get(head, "node"),
               row_get(head, "pid"), row_get(head, "generation"), age,
               row_get(head, "state"));
        printf("%-16s %-9s %s\n", "port", "protocol", "address");
        return row_read_list(j, print_port, NULL);
    }
    if (slice_is(j->text, "processes")) {
        printf("\n%-10s %8s %-9s %9s %7s %9s %7s %9s %4s %8s\n", "process",
               "pid", "state", "uptime", "conns", "memory", "vm", "loop lag",
               "gen", "restarts");
        return row_read_list(j, print_process, NULL);
    }
    if (slice_is(j->text, "slow"))
        return row_read_list(j, print_slow, NULL);
    return row_read_field(head, j);
}

typedef bool field_fn(struct json *j, struct row *head);

/* A map, each field of which is printed or goes to the head. */
static int print_table(struct slice text, field_fn *field)
{
    struct buf scratch = {0};
    struct row head = {0};
    struct json j;
    int token, status = CMD_FAILED;

    json_init(&j, text, &scratch);
    if (json_next(&j) == JSON_MAP) {
        do
            token = json_next(&j);
        while (token == JSON_KEY && field(&j, &head));
        status = token == JSON_MAP_END ? CMD_DONE : CMD_FAILED;
        if (row_get(&head, "error")[0] != '\0') {
            cmd_complain("%s", row_get(&head, "error"));
            status = CMD_FAILED;
        }
    }
    buf_fini(&scratch);
    return status;
}

static void print_member(void *ctx, const struct row *row)
{
    char name[4 * ROW_TEXT];

    (void)ctx;
    row_printable(name, sizeof(name), row_get(row, "name"));
    printf("%-20s %-9s %-8s %-22s %-9s %4s %7s %6s%s\n", name,
           row_get(row, "kind"), row_get(row, "state"), row_get(row, "address"),
           row_get(row, "version"), row_get(row, "generation"),
           row_get(row, "conns"), row_get(row, "relays"),
           strcmp(row_get(row, "draining"), "true") == 0 ? " draining" : "");
}

static void print_link(void *ctx, const struct row *row)
{
    char to[4 * ROW_TEXT];
    bool is_relay = row_get(row, "relay")[0] != '\0';

    ++*(unsigned *)ctx;
    row_printable(to, sizeof(to), row_get(row, "to"));
    printf("%-12s %-20s %-6s %5s %-7s %8.1fK %8.1fs %9.1fms\n",
           row_get(row, "process"), to, is_relay ? "relay" : "worker",
           row_get(row, is_relay ? "relay" : "worker"), row_get(row, "state"),
           row_number(row, "unsent") / 1024, row_number(row, "silent"),
           row_number(row, "round_trip") * 1000);
}

static void print_queue(void *ctx, const struct row *row)
{
    (void)ctx;
    printf("%-12s %10s %10s %9s %9s %8s %8.1fK %8s\n", row_get(row, "process"),
           row_get(row, "accepted"), row_get(row, "delivered"),
           row_get(row, "dropped"), row_get(row, "in_flight"),
           row_get(row, "busy"), row_number(row, "bytes") / 1024,
           row_get(row, "resent"));
}

static bool print_links(struct json *j)
{
    unsigned count = 0;
    bool is_whole;

    printf("\n%-12s %-20s %-12s %-7s %9s %9s %11s\n", "process", "link to", "",
           "state", "unsent", "silent", "round trip");
    is_whole = row_read_list(j, print_link, &count);
    if (is_whole && count == 0)
        printf("none: %s\n",
               instance_parts() == INSTANCE_DISPATCH
                   ? "no node is known"
                   : "no dispatch is known, and without one nodes do not "
                     "reach each other (sdlua dispatch start)");
    return is_whole;
}

static void print_dropped(void *ctx, const struct row *row)
{
    bool *has_head = ctx;

    if (!*has_head)
        printf("\n%-20s %s\n", "datagrams dropped", "count");
    *has_head = true;
    printf("%-20s %s\n", row_get(row, "reason"), row_get(row, "count"));
}

static bool print_cluster_field(struct json *j, struct row *head)
{
    if (slice_is(j->text, "queues")) {
        printf("\n%-12s %10s %10s %9s %9s %8s %9s %8s\n", "process",
               "to others", "delivered", "dropped", "in flight", "busy", "kept",
               "resent");
        return row_read_list(j, print_queue, NULL);
    }
    if (slice_is(j->text, "links"))
        return print_links(j);
    if (slice_is(j->text, "dropped"))
        return row_read_list(j, print_dropped, &(bool){false});
    if (!slice_is(j->text, "members"))
        return row_read_field(head, j);
    printf("%-20s %-9s %-8s %-22s %-9s %4s %7s %6s\n", "member", "kind",
           "state", "address", "version", "gen", "conns", "relays");
    return row_read_list(j, print_member, NULL);
}

static int not_running(void)
{
    pid_t pid = pidfile_owner(instance_pidfile());
    bool is_dispatch = instance_parts() == INSTANCE_DISPATCH;

    if (pid != 0)
        cmd_complain("starting or stopping (pid %d)", (int)pid);
    else if (!is_dispatch && pidfile_owner("run/dispatch.pid") != 0)
        cmd_complain("not running; a dispatch is: sdlua dispatch status");
    else if (is_dispatch && pidfile_owner("run/sdlua.pid") != 0)
        cmd_complain("no dispatch is running; a node is: sdlua status");
    else
        cmd_complain("not running");
    return CMD_NOT_RUNNING;
}

int cmd_status(const struct cmd *cmd)
{
    struct buf reply = {0};
    int fd = ctl_ask(cmd->cluster ? "cluster" : "status", &reply);
    int status = CMD_DONE;

    if (fd == -ENOENT || fd == -ECONNREFUSED || fd == SD_ECLOSED) {
        status = not_running();
    } else if (fd < 0) {
        cmd_complain("%s: %s", instance_control(), err_str(fd));
        status = CMD_FAILED;
    } else {
        ctl_wait_end(fd, 0);
        if (cmd->json)
            fwrite(buf_slice(&reply).p, 1, reply.len, stdout);
        else
            status =
                print_table(buf_slice(&reply),
                            cmd->cluster ? print_cluster_field : print_field);
    }
    buf_fini(&reply);
    return status;
}
