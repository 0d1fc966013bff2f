/* buf.c - see buf.h.
 *
 * Memory doubles as it grows.  Consumed room in front is used again by moving
 * the waiting bytes down, but only when they are fewer than the room they
 * free, so that moving costs at most one copy of each byte. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define BUF_MIN 256

void buf_fini(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){0};
}

static void buf_grow(struct buf *b, size_t need)
{
    size_t cap = b->cap > 0 ? b->cap : BUF_MIN;

    sd_assert(need < SIZE_MAX / 4);
    while (cap < need)
        cap *= 2;
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->p == NULL) {
        buf_grow(b, n);
    } else if (b->cap - b->head - b->len < n) {
        if (b->head > b->len) {
            memcpy(b->p, b->p + b->head, b->len);
            b->head = 0;
        }
        if (b->cap - b->head - b->len < n)
            buf_grow(b, b->head + b->len + n);
    }
    return b->p + b->head + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    sd_assert(n <= b->cap - b->head - b->len);
    b->len += n;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->len += n;
}

void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    sd_assert(n >= 0);
    vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
    va_end(again);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    sd_assert(n <= b->len);
    b->len -= n;
    b->head = b->len > 0 ? b->head + n : 0;
}

void buf_truncate(struct buf *b, size_t len)
{
    sd_assert(len <= b->len);
    b->len = len;
}
