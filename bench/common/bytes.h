/* bytes.h - a growing run of bytes for the bench programs.
 *
 * Embedded by value, opened by zeroing.  The bench shares no code with
 * runtime/, so that a bug there cannot hide itself here. */
#ifndef SD_BENCH_BYTES_H
#define SD_BENCH_BYTES_H

#include <stddef.h>

struct bytes {
    char *p;
    size_t len;
    size_t cap;
};

void bytes_fini(struct bytes *b);

/* A place for `n` more bytes behind the last; add what was used to `len`. */
char *bytes_room(struct bytes *b, size_t n);

void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_add_str(struct bytes *b, const char *s);

/* Drop the first `n` bytes. */
void bytes_drop(struct bytes *b, size_t n);

#endif
