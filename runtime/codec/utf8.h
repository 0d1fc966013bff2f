/* utf8.h - is this UTF-8?  Strict: no overlong form, no surrogate, nothing
 * above U+10FFFF. */
#ifndef SD_CODEC_UTF8_H
#define SD_CODEC_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    UTF8_MAX = 4 /* bytes of the longest character */
};

/* Between two pieces of one text; zeroed at its start. */
struct utf8 {
    uint8_t left; /* continuation bytes that must follow */
    uint8_t lo;   /* bounds of the next one, while left > 0 */
    uint8_t hi;
};

/* Is all of `s` complete and valid? */
bool utf8_is_valid(struct slice s);

/* Take the next piece.  False at the first byte that cannot be right: the
 * text is lost, the state too.  Pieces may end inside a character. */
bool utf8_feed(struct utf8 *u, struct slice piece);

/* May the text end here? */
static inline bool utf8_is_done(const struct utf8 *u)
{
    return u->left == 0;
}

/* Length of the longest start of `s` that has at most `max` bytes and does
 * not end inside a character (`s` being valid). */
size_t utf8_cut(struct slice s, size_t max);

/* Write the character `c`, at most U+10FFFF and no surrogate, where UTF8_MAX
 * bytes have room; how many it took. */
size_t utf8_put(char *out, uint32_t c);

#endif
