/* config.c - `sdlua config [KEY]`: each value, who set it, and whether a
 * reload applies it.  KEY is a whole path or the front of some. */
#include <stdio.h>
#include <string.h>

#include "cmd/built.h"
#include "cmd/cmd.h"
#include "codec/json.h"

struct setting {
    const char *path, *value, *source;
    bool reload;
};

static bool next_setting(struct setting *s, struct slice *rest)
{
    const char *reload;

    s->path = built_next(rest);
    if (s->path == NULL)
        return false;
    s->value = built_next(rest);
    s->source = built_next(rest);
    reload = built_next(rest);
    s->reload = reload != NULL && reload[0] != '\0';
    return true;
}

static bool is_asked(const char *path, const char *key)
{
    size_t len = key != NULL ? strlen(key) : 0;

    return len == 0 || (strncmp(path, key, len) == 0 &&
                        (path[len] == '\0' || path[len] == '.'));
}

static void print_text(struct buf *out, const struct setting *s)
{
    buf_printf(out, "%-34s %-22s %s%s\n", s->path, s->value, s->source,
               s->reload ? ", reload applies it" : ", needs a restart");
}

static void print_json(struct buf *out, const struct setting *s, bool first)
{
    buf_append_str(out, first ? "{" : ",");
    if (json_write_string(out, slice_str(s->path)) < 0)
        buf_append_str(out, "\"\"");
    buf_printf(out, ":{\"value\":%s,\"source\":", s->value);
    if (json_write_string(out, slice_str(s->source)) < 0)
        buf_append_str(out, "\"\"");
    buf_printf(out, ",\"reload\":%s}", s->reload ? "true" : "false");
}

static int print_all(const struct cmd *cmd, const struct bundle *bundle)
{
    const char *key = cmd->argc > 0 ? cmd->argv[0] : NULL;
    struct slice rest = {0};
    struct buf out = {0};
    struct setting s;
    unsigned n = 0;

    bundle_get(bundle, "origin", &rest);
    while (next_setting(&s, &rest)) {
        if (!is_asked(s.path, key))
            continue;
        if (cmd->json)
            print_json(&out, &s, n == 0);
        else
            print_text(&out, &s);
        n++;
    }
    if (cmd->json && n > 0)
        buf_append_str(&out, "}\n");
    fwrite(buf_slice(&out).p, 1, out.len, stdout);
    buf_fini(&out);
    if (n == 0)
        cmd_complain("no such key: %s", key != NULL ? key : "");
    return n > 0 ? CMD_DONE : CMD_FAILED;
}

int cmd_config(const struct cmd *cmd)
{
    struct built b;
    int status = CMD_FAILED;

    if (built_open(&b))
        status = print_all(cmd, b.bundle);
    else
        built_complain(&b, true);
    built_close(&b);
    return status;
}
