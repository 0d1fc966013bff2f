/* conf_note.c - see conf_note.h.
 *
 * A note on its way is four texts with a NUL behind each: severity, file,
 * line, text. */
#include "vm/conf_note.h"

#include <stdlib.h>
#include <string.h>

void conf_note_add(struct buf *report, const struct conf_note *note)
{
    buf_printf(report, "%s%c%s%c%u%c%s%c", note->error ? "error" : "warning", 0,
               note->file, 0, note->line, 0, note->text, 0);
}

/* The text in front and what is behind it; NULL where none ends. */
static const char *next_text(struct slice *rest)
{
    size_t len = strnlen(rest->p, rest->len);
    const char *text = rest->p;

    if (len == rest->len)
        return NULL;
    *rest = slice_skip(*rest, len + 1);
    return text;
}

bool conf_note_next(struct conf_note *note, struct slice *report)
{
    const char *part[4];
    unsigned i;

    for (i = 0; i < 4; i++) {
        part[i] = report->len > 0 ? next_text(report) : NULL;
        if (part[i] == NULL)
            return false;
    }
    note->error = strcmp(part[0], "error") == 0;
    note->file = part[1];
    note->line = (unsigned)strtoul(part[2], NULL, 10);
    note->text = part[3];
    return true;
}

void conf_note_print(struct buf *out, const struct conf_note *note)
{
    if (!note->error)
        buf_append_str(out, "warning: ");
    if (note->file[0] != '\0')
        buf_append_str(out, note->file);
    if (note->line > 0)
        buf_printf(out, ":%u", note->line);
    buf_printf(out, "%s%s\n", note->file[0] != '\0' ? ": " : "", note->text);
}
