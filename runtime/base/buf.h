/* buf.h - an owned queue of bytes: written at the end, consumed in front.
 *
 * Embedded by value and opened by zeroing.  An empty buf may own no memory,
 * so an idle connection costs nothing; buf_fini() gives back what it owns.
 * Writers reserve, write at the returned place, then commit. */
#ifndef SD_BASE_BUF_H
#define SD_BASE_BUF_H

#include <stddef.h>

#include "base/slice.h"

struct buf {
    char *p;     /* start of the memory, NULL while nothing is owned */
    size_t head; /* first byte not consumed */
    size_t len;  /* bytes waiting, from head */
    size_t cap;  /* bytes of memory at p */
};

void buf_fini(struct buf *b);

/* Room for at least `n` more bytes; the place to write them, valid until the
 * next call on this buf. */
char *buf_reserve(struct buf *b, size_t n);

/* `n` bytes of the last reservation were written. */
void buf_commit(struct buf *b, size_t n);

void buf_append(struct buf *b, const void *p, size_t n);
void buf_append_str(struct buf *b, const char *s);
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *b,
                                                      const char *fmt, ...);

/* Drop `n` bytes in front.  An emptied buf keeps its memory. */
void buf_consume(struct buf *b, size_t n);

/* Cut back to the first `len` bytes: undo of what was committed since. */
void buf_truncate(struct buf *b, size_t len);

/* The waiting bytes, valid until the next call that writes. */
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_make(b->len > 0 ? b->p + b->head : "", b->len);
}

#endif
