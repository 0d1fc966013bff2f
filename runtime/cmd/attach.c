/* attach.c - a console in a live worker.
 *
 * What is typed goes to the worker as it is, and lines are added to it as long
 * as the worker finds that its end is missing.  For a person the verb ends well
 * whatever went wrong on the way; for a pipe it fails when an evaluation did.
 *
 * What comes back may hold what clients have sent: nothing of it reaches the
 * terminal as a command. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cmd/cmd.h"
#include "cmd/inside.h"
#include "cmd/prompt.h"
#include "cmd/row.h"

enum {
    HELLO_WAIT = 10000 /* ms; a worker that is stuck does not say a word */
};

struct console {
    struct inside inside;
    struct buf chunk; /* what was typed and is not whole yet */
    char name[16];
    bool had_error;
};

/* The last line of an answer. */
struct outcome {
    bool is_last, is_done, wants_more;
};

static void print(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool is_c1 =
            c == 0xc2 && i + 1 < s.len && (unsigned char)s.p[i + 1] < 0xa0;

        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || is_c1)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static bool read_field(struct json *j, struct outcome *o)
{
    bool is_text = slice_is(j->text, "out"), is_error, is_done;

    is_error = slice_is(j->text, "error");
    is_done = slice_is(j->text, "done");
    switch (json_next(j)) {
    case JSON_STRING:
        if (is_text || is_error)
            print(j->text);
        if (is_error)
            putchar('\n');
        return true;
    case JSON_TRUE:
        o->is_done |= is_done;
        o->wants_more |= !is_done;
        o->is_last |= is_done;
        return true;
    case JSON_FALSE:
        o->is_last |= is_done;
        return true;
    default:
        return false;
    }
}

static bool read_answer(struct slice line, struct outcome *o)
{
    struct buf scratch = {0};
    struct json j;
    int token;

    json_init(&j, line, &scratch);
    token = json_next(&j) == JSON_MAP ? JSON_KEY : SD_EPROTO;
    while (token == JSON_KEY && (token = json_next(&j)) == JSON_KEY)
        if (!read_field(&j, o))
            token = SD_EPROTO;
    buf_fini(&scratch);
    return token == JSON_MAP_END;
}

/* Send the chunk, print what comes back.  0 or a negative code. */
static int evaluate(struct console *c, struct outcome *o)
{
    struct buf request = {0};
    struct slice line;
    int err;

    *o = (struct outcome){0};
    buf_append_str(&request, "{\"eval\":");
    err = json_write_string(&request, buf_slice(&c->chunk));
    buf_append_str(&request, "}");
    if (err < 0) {
        puts("no UTF-8: write other bytes as \\ddd");
        o->is_last = true;
        err = 0;
    } else {
        err = inside_send(&c->inside, buf_slice(&request));
    }
    buf_fini(&request);
    while (err == 0 && !o->is_last) {
        err = inside_line(&c->inside, &line, -1);
        if (err == 0 && !read_answer(line, o))
            err = SD_EPROTO;
        fflush(stdout);
    }
    return err;
}

/* One line more.  0 or a negative code. */
static int take_line(struct console *c, const char *line)
{
    struct outcome o;
    int err;

    if (c->chunk.len > 0)
        buf_append_str(&c->chunk, "\n");
    buf_append_str(&c->chunk, line);
    err = evaluate(c, &o);
    if (err == 0 && o.wants_more)
        return 0;
    c->had_error |= !o.is_done;
    buf_consume(&c->chunk, c->chunk.len);
    return err;
}

static int run(struct console *c)
{
    char prompt[32];
    const char *line;
    int err = 0;

    do {
        snprintf(prompt, sizeof(prompt), "%s%s ", c->name,
                 c->chunk.len > 0 ? ">>" : ">");
        line = prompt_line(prompt);
        if (line != NULL)
            err = take_line(c, line);
    } while (line != NULL && err == 0);
    if (err < 0) {
        cmd_complain("the worker has gone (%s)", err_str(err));
        return CMD_FAILED;
    }
    if (prompt_is_person()) {
        putchar('\n');
        return CMD_DONE;
    }
    if (c->chunk.len > 0)
        cmd_complain("its end is missing: %.*s", (int)c->chunk.len,
                     buf_slice(&c->chunk).p);
    return c->chunk.len > 0 || c->had_error ? CMD_FAILED : CMD_DONE;
}

/* Who answers; false: nobody, which was said. */
static bool greet(struct console *c)
{
    struct row who;
    int err = inside_greeting(&c->inside, &who, HELLO_WAIT);

    if (err == SD_ETIMEOUT)
        cmd_complain("%s does not answer (see sdlua status)", c->name);
    else if (err < 0)
        cmd_complain("%s", err == SD_EUNAVAILABLE ? row_get(&who, "error")
                                                  : err_str(err));
    else if (prompt_is_person())
        printf("worker %s of node %s, pid %s, generation %s (.help)\n",
               row_get(&who, "worker"), row_get(&who, "node"),
               row_get(&who, "pid"), row_get(&who, "generation"));
    return err == 0;
}

static bool worker_of(const struct cmd *cmd, unsigned *worker)
{
    const char *text = cmd->argc > 0 ? cmd->argv[0] : "0";
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    *worker = (unsigned)n;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && n < 1000;
}

int cmd_attach(const struct cmd *cmd)
{
    struct console c = {0};
    unsigned worker;
    int err;

    if (!worker_of(cmd, &worker)) {
        cmd_complain("attach: the number of a worker, as in sdlua status");
        return CMD_USAGE;
    }
    err = inside_open(&c.inside, worker);
    if (err == -ENOENT || err == -ECONNREFUSED) {
        cmd_complain("not running");
        return CMD_NOT_RUNNING;
    }
    if (err < 0) {
        cmd_complain("%s", err_str(err));
        return CMD_FAILED;
    }
    snprintf(c.name, sizeof(c.name), "worker %u", worker);
    err = greet(&c) ? run(&c) : CMD_FAILED;
    inside_close(&c.inside);
    buf_fini(&c.chunk);
    return err;
}
