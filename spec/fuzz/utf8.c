/* utf8.c - against a decoder written from the definition, and in any pieces. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "codec/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes of the character at `p`, 0 when there is none: decode the number,
 * then look at what it is. */
static size_t char_len(const uint8_t *p, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n, i;
    uint32_t v;

    if (p[0] < 0x80)
        return 1;
    n = p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > size)
        return 0;
    v = p[0] & (0x7fu >> n);
    for (i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    return n;
}

static bool reference(const uint8_t *p, size_t size)
{
    size_t n;

    for (; size > 0; p += n, size -= n) {
        n = char_len(p, size);
        if (n == 0)
            return false;
    }
    return true;
}

static bool in_pieces(const uint8_t *p, size_t size, size_t step)
{
    struct utf8 u = {0};
    size_t n;

    for (; size > 0; p += n, size -= n) {
        n = size < step ? size : step;
        if (!utf8_feed(&u, slice_make(p, n)))
            return false;
    }
    return utf8_is_done(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = slice_make(data, size);
    bool expected = reference(data, size);
    size_t step, max;

    sd_assert(utf8_is_valid(s) == expected);
    for (step = 1; step < 12; step++)
        sd_assert(in_pieces(data, size, step) == expected);
    for (max = 0; expected && max < size && max < 16; max++) {
        size_t n = utf8_cut(s, max);
        sd_assert(n <= max && n + 3 >= max);
        sd_assert(utf8_is_valid(slice_make(data, n)));
    }
    return 0;
}
