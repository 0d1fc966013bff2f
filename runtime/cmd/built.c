/* built.c - see built.h.
 *
 * A verb is a process of its own, so the work is done in it and the deadline
 * is an alarm whose handler ends it. */
#include "cmd/built.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "proc/config.h"
#include "proc/install.h"
#include "vm/conf_lua.h"
#include "vm/conf_note.h"

static char current_file[256]; /* read by the handler, as is the next */
static char too_long[64];

static void on_file(void *arg, const char *name)
{
    (void)arg;
    snprintf(current_file, sizeof(current_file), "%s", name);
}

static void on_alarm(int signo)
{
    (void)signo;
    if (write(STDERR_FILENO, current_file, strlen(current_file)) < 0 ||
        write(STDERR_FILENO, too_long, strlen(too_long)) < 0)
        _exit(CMD_FAILED);
    _exit(CMD_FAILED);
}

bool built_open(struct built *b)
{
    struct conf_build_opts opts = {.environ = environ, .on_file = on_file};
    int err;

    *b = (struct built){0};
    opts.framework_dir = install_lua_dir();
    if (opts.framework_dir == NULL) {
        cmd_complain("the framework's Lua files are not where they belong");
        return false;
    }
    snprintf(too_long, sizeof(too_long), ": still running after %u s\n",
             config_seconds());
    signal(SIGALRM, on_alarm);
    alarm(config_seconds());
    err = conf_build(&opts, &b->bytes, &b->report);
    alarm(0);
    if (err == 0)
        err = bundle_open_bytes(&b->bundle, buf_slice(&b->bytes));
    return err == 0;
}

void built_close(struct built *b)
{
    bundle_close(&b->bundle);
    buf_fini(&b->bytes);
    buf_fini(&b->report);
}

void built_complain(const struct built *b, bool errors_only)
{
    struct slice rest = buf_slice(&b->report);
    struct buf out = {0};
    struct conf_note note;

    while (conf_note_next(&note, &rest)) {
        if (note.error || !errors_only)
            conf_note_print(&out, &note);
    }
    fwrite(buf_slice(&out).p, 1, out.len, stderr);
    buf_fini(&out);
}

const char *built_next(struct slice *rest)
{
    const char *text = rest->p;

    if (rest->len == 0)
        return NULL;
    *rest = slice_skip(*rest, strlen(text) + 1);
    return text;
}
