/* decimal.h - numbers as decimal text: exact where they can be, correctly
 * rounded where not, whatever the locale. */
#ifndef SD_CODEC_DECIMAL_H
#define SD_CODEC_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DECIMAL_MAX = 40 /* bytes of the longest text written */
};

struct decimal {
    double value;
    bool is_big;     /* an integer beyond 2^53: only its text is exact */
    const char *why; /* after an error */
};

/* Read the number at `p` by the grammar of JSON.  Where it ends, or NULL when
 * none begins there or it is over the range of a double (see d->why). */
const char *decimal_read(struct decimal *d, const char *p, const char *end);

/* Write the shortest text that reads back as the finite `n`, without a NUL;
 * its length.  Whole numbers have no point, those beyond 2^53 an exponent. */
size_t decimal_write(char *out, double n);

size_t decimal_write_int(char *out, int64_t n);
size_t decimal_write_uint(char *out, uint64_t n);

#endif
