/* json_lines.c - see json_lines.h. */
#include "proc/json_lines.h"

#include <string.h>

#include "codec/json.h"

void json_lines(struct buf *out, const char *name, struct slice text)
{
    const char *comma = "";

    buf_printf(out, ",\"%s\":[", name);
    while (text.len > 0) {
        const char *end = memchr(text.p, '\n', text.len);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.len;

        buf_append_str(out, comma);
        if (json_write_string(out, slice_make(text.p, n)) < 0)
            buf_append_str(out, "\"?\""); /* no UTF-8 */
        comma = ",";
        text = slice_skip(text, n + (end != NULL));
    }
    buf_append_str(out, "]");
}
