/* window.c - see window.h.
 *
 * A ring of words, one bit a number, as RFC 6479 has it: instead of shifting
 * the whole field when the top rises, the words that come into use are cleared
 * on the way.  1,024 numbers lie in at most 17 words of 64, so with 17 the
 * word of a number within the window is never another number's as well. */
#include "cluster/window.h"

#include <stdbool.h>

#include "base/assert.h"

enum window_verdict window_judge(const struct window *w, uint64_t n)
{
    if (n == 0)
        return WINDOW_OLD;
    if (n > w->top)
        return WINDOW_FRESH;
    if (w->top - n >= WINDOW_SIZE)
        return WINDOW_OLD;
    return w->bits[n / 64 % WINDOW_WORDS] >> (n % 64) & 1 ? WINDOW_SEEN
                                                          : WINDOW_FRESH;
}

/* Clear the words behind that of the old top, up to that of `n`; all of them
 * once, when it lies further off. */
static void raise(struct window *w, uint64_t n)
{
    uint64_t word = w->top / 64, last = n / 64;

    if (last - word > WINDOW_WORDS)
        word = last - WINDOW_WORDS;
    while (word < last)
        w->bits[++word % WINDOW_WORDS] = 0;
    w->top = n;
}

void window_note(struct window *w, uint64_t n)
{
    sd_assert(window_judge(w, n) == WINDOW_FRESH);
    if (n > w->top)
        raise(w, n);
    w->bits[n / 64 % WINDOW_WORDS] |= UINT64_C(1) << (n % 64);
}
