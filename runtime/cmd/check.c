/* check.c - `sdlua check`: everything that is wrong, at once. */
#include <stdio.h>

#include "cmd/built.h"
#include "cmd/cmd.h"
#include "codec/json.h"
#include "vm/conf_note.h"

static void print_json(const struct built *b)
{
    struct slice rest = buf_slice(&b->report);
    struct buf out = {0};
    struct conf_note note;
    const char *comma = "";

    buf_printf(&out, "{\"ok\":%s,\"notes\":[",
               b->bundle != NULL ? "true" : "false");
    while (conf_note_next(&note, &rest)) {
        buf_printf(&out, "%s{\"severity\":\"%s\",\"file\":", comma,
                   note.error ? "error" : "warning");
        if (json_write_string(&out, slice_str(note.file)) < 0)
            buf_append_str(&out, "null");
        buf_printf(&out, ",\"line\":%u,\"text\":", note.line);
        if (json_write_string(&out, slice_str(note.text)) < 0)
            buf_append_str(&out, "null");
        buf_append_str(&out, "}");
        comma = ",";
    }
    buf_append_str(&out, "]}\n");
    fwrite(buf_slice(&out).p, 1, out.len, stdout);
    buf_fini(&out);
}

int cmd_check(const struct cmd *cmd)
{
    struct built b;
    bool good = built_open(&b);

    if (cmd->json)
        print_json(&b);
    else
        built_complain(&b, false);
    if (good && !cmd->json)
        printf("ok\n");
    built_close(&b);
    return good ? CMD_DONE : CMD_FAILED;
}
