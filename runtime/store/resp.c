/* resp.c - see resp.h. */
#include "store/resp.h"

#include <string.h>

/* The mark, `n` in digits and the end of the line, right-aligned in `text`. */
static size_t line_of(char text[24], char mark, size_t n)
{
    size_t at = 24;

    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    text[--at] = mark;
    return at;
}

void resp_put_head(struct buf *out, unsigned argc)
{
    char text[24];
    size_t at = line_of(text, '*', argc);

    buf_append(out, text + at, sizeof(text) - at);
}

void resp_put_arg(struct buf *out, const void *p, size_t len)
{
    char text[24];
    size_t at = line_of(text, '$', len), n = sizeof(text) - at;
    char *room = buf_reserve(out, n + len + 2);

    memcpy(room, text + at, n);
    if (len > 0)
        memcpy(room + n, p, len);
    room[n + len] = '\r';
    room[n + len + 1] = '\n';
    buf_commit(out, n + len + 2);
}
