/* bytes.c - see bytes.h.  Running out of memory ends the program. */
#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "common/util.h"

#define BYTES_MIN 512

void bytes_fini(struct bytes *b)
{
    free(b->p);
    *b = (struct bytes){0};
}

char *bytes_room(struct bytes *b, size_t n)
{
    size_t cap = b->cap > 0 ? b->cap : BYTES_MIN;

    while (cap - b->len < n)
        cap *= 2;
    if (cap != b->cap) {
        b->p = realloc(b->p, cap);
        if (b->p == NULL)
            util_die("out of memory");
        b->cap = cap;
    }
    return b->p + b->len;
}

void bytes_add(struct bytes *b, const void *p, size_t n)
{
    memcpy(bytes_room(b, n), p, n);
    b->len += n;
}

void bytes_add_str(struct bytes *b, const char *s)
{
    bytes_add(b, s, strlen(s));
}

void bytes_drop(struct bytes *b, size_t n)
{
    b->len -= n;
    if (b->len > 0)
        memmove(b->p, b->p + n, b->len);
}
