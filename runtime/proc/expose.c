/* expose.c - see expose.h. */
#include "proc/expose.h"

void expose_escaped(struct buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '\n')
            buf_append_str(out, "\\n");
        else if (*s == '\\' || *s == '"')
            buf_printf(out, "\\%c", *s);
        else
            buf_append(out, s, 1);
    }
}

void expose_head(struct buf *out, const char *name, const char *help,
                 bool is_counter)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
               is_counter ? "counter" : "gauge");
}
