/* status.c - the master's answer, as it is or as a table. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "cmd/cmd.h"
#include "codec/json.h"
#include "proc/ctl.h"
#include "proc/node.h"
#include "proc/pidfile.h"

enum {
    TEXT = 192, /* bytes of a field; longer ones are cut */
    FIELDS = 24,
};

/* One flat JSON map as texts. */
struct row {
    unsigned n;
    char key[FIELDS][TEXT];
    char value[FIELDS][TEXT];
};

static void copy(char *to, struct slice s)
{
    size_t n = s.len < TEXT - 1 ? s.len : TEXT - 1;

    memcpy(to, s.p, n);
    to[n] = '\0';
}

static const char *get(const struct row *row, const char *key)
{
    for (unsigned i = 0; i < row->n; i++)
        if (strcmp(row->key[i], key) == 0)
            return row->value[i];
    return "";
}

static double number(const struct row *row, const char *key)
{
    double n = 0;

    return sscanf(get(row, key), "%lf", &n) == 1 ? n : 0;
}

/* "3d 4h", "5m 6s": two units are enough for a person. */
static void duration(char *out, size_t size, double seconds)
{
    static const unsigned units[] = {86400, 3600, 60, 1};
    static const char names[] = "dhms";
    unsigned long s = (unsigned long)seconds;
    unsigned i = 0;

    while (i < 3 && s < units[i])
        i++;
    if (i == 3)
        snprintf(out, size, "%.1fs", seconds);
    else
        snprintf(out, size, "%lu%c %lu%c", s / units[i], names[i],
                 s % units[i] / units[i + 1], names[i + 1]);
}

/* Clients choose their uids: nothing of them may reach the terminal as a
 * command. */
static void copy_printable(char *out, size_t size, const char *s)
{
    size_t n = 0;

    for (; *s != '\0' && n + 5 < size; s++) {
        unsigned char c = (unsigned char)*s;
        bool is_c1 = c == 0xc2 && (unsigned char)s[1] < 0xa0;

        if (c < 0x20 || c == 0x7f || is_c1)
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
        else
            out[n++] = *s;
    }
    out[n] = '\0';
}

/* A line more for a worker that does not answer. */
static void print_blocked(const struct row *row)
{
    char at[4 * TEXT];

    if (get(row, "blocked")[0] == '\0')
        return;
    copy_printable(at, sizeof(at), get(row, "blocked_at"));
    printf("           has not answered for %.1f s, in %s\n",
           number(row, "blocked"), at);
}

static void print_process(const struct row *row)
{
    char name[2 * TEXT + 2], age[32];

    if (strcmp(get(row, "role"), "agent") == 0 ||
        strcmp(get(row, "role"), "redis") == 0)
        snprintf(name, sizeof(name), "%s", get(row, "role"));
    else
        snprintf(name, sizeof(name), "%s %s", get(row, "role"),
                 get(row, "index"));
    duration(age, sizeof(age), number(row, "uptime"));
    printf("%-10s %8s %-9s %9s %7s %8.1fM %6.1fM %7.1fms %4s %8s\n", name,
           get(row, "pid"), get(row, "state"), age, get(row, "conns"),
           number(row, "memory") / 1048576, number(row, "vm_memory") / 1048576,
           number(row, "loop_lag") * 1000, get(row, "generation"),
           get(row, "restarts"));
    print_blocked(row);
}

/* Pass over the map whose opening brace was read: what only programs want. */
static bool skip_map(struct json *j)
{
    unsigned depth = 1;

    while (depth > 0) {
        int token = json_next(j);

        if (token < 0 || token == JSON_END)
            return false;
        depth += token == JSON_MAP || token == JSON_LIST;
        depth -= token == JSON_MAP_END || token == JSON_LIST_END;
    }
    return true;
}

/* Read one map whose opening brace was read; false when it is no such map. */
static bool read_row(struct json *j, struct row *row)
{
    int token;

    row->n = 0;
    while ((token = json_next(j)) == JSON_KEY && row->n < FIELDS) {
        copy(row->key[row->n], j->text);
        token = json_next(j);
        if (token == JSON_MAP) {
            if (!skip_map(j))
                return false;
            continue;
        }
        if (token == JSON_STRING)
            copy(row->value[row->n], j->text);
        else if (token == JSON_NUMBER)
            snprintf(row->value[row->n], TEXT, "%.15g", j->number);
        else
            return false;
        row->n++;
    }
    return token == JSON_MAP_END;
}

/* The list behind a key: each row to `print`. */
static bool print_list(struct json *j, void (*print)(const struct row *row))
{
    struct row row;
    int token;

    if (json_next(j) != JSON_LIST)
        return false;
    while ((token = json_next(j)) == JSON_MAP) {
        if (!read_row(j, &row))
            return false;
        print(&row);
    }
    return token == JSON_LIST_END;
}

static void print_port(const struct row *row)
{
    printf("%-16s %-9s %s port %s\n", get(row, "name"), get(row, "protocol"),
           get(row, "address"), get(row, "port"));
}

/* The first comes with the head of its table. */
static void print_slow(const struct row *row)
{
    static bool had_head;
    char age[32], uid[4 * TEXT];

    if (!had_head)
        printf("\n%-16s %-6s %-20s %-22s %10s %9s\n", "slow clients", "worker",
               "uid", "address", "unsent", "for");
    had_head = true;
    duration(age, sizeof(age), number(row, "age"));
    copy_printable(uid, sizeof(uid), get(row, "uid"));
    printf("%-16s %-6s %-20s %-15s %6s %9.1fK %9s\n", get(row, "port"),
           get(row, "worker"), uid, get(row, "address"), get(row, "peer_port"),
           number(row, "bytes") / 1024, age);
}

static bool print_field(struct json *j, struct row *head)
{
    char age[32];

    if (slice_is(j->text, "ports")) {
        duration(age, sizeof(age), number(head, "uptime"));
        printf("sdlua %s: node %s, pid %s, generation %s, up %s\n\n",
               get(head, "version"), get(head, "node"), get(head, "pid"),
               get(head, "generation"), age);
        printf("%-16s %-9s %s\n", "port", "protocol", "address");
        return print_list(j, print_port);
    }
    if (slice_is(j->text, "processes")) {
        printf("\n%-10s %8s %-9s %9s %7s %9s %7s %9s %4s %8s\n", "process",
               "pid", "state", "uptime", "conns", "memory", "vm", "loop lag",
               "gen", "restarts");
        return print_list(j, print_process);
    }
    if (slice_is(j->text, "slow"))
        return print_list(j, print_slow);
    if (head->n == FIELDS)
        return false;
    copy(head->key[head->n], j->text);
    if (json_next(j) == JSON_STRING)
        copy(head->value[head->n], j->text);
    else
        snprintf(head->value[head->n], TEXT, "%.15g", j->number);
    head->n++;
    return true;
}

static int print_table(struct slice text)
{
    struct buf scratch = {0};
    struct row head = {0};
    struct json j;
    int token, status = CMD_FAILED;

    json_init(&j, text, &scratch);
    if (json_next(&j) == JSON_MAP) {
        do
            token = json_next(&j);
        while (token == JSON_KEY && print_field(&j, &head));
        status = token == JSON_MAP_END ? CMD_DONE : CMD_FAILED;
    }
    buf_fini(&scratch);
    return status;
}

static int not_running(void)
{
    pid_t pid = pidfile_owner(NODE_PIDFILE);

    if (pid != 0)
        cmd_complain("starting or stopping (pid %d)", (int)pid);
    else
        cmd_complain("not running");
    return CMD_NOT_RUNNING;
}

int cmd_status(const struct cmd *cmd)
{
    struct buf reply = {0};
    int fd = ctl_ask("status", &reply);
    int status = CMD_DONE;

    if (fd == -ENOENT || fd == -ECONNREFUSED || fd == SD_ECLOSED) {
        status = not_running();
    } else if (fd < 0) {
        cmd_complain(CTL_PATH ": %s", err_str(fd));
        status = CMD_FAILED;
    } else {
        ctl_wait_end(fd, 0);
        if (cmd->json)
            fwrite(buf_slice(&reply).p, 1, reply.len, stdout);
        else
            status = print_table(buf_slice(&reply));
    }
    buf_fini(&reply);
    return status;
}
