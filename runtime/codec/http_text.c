/* http_text.c - see http_text.h.
 *
 * Field values are by far the longest part of a head, so they are checked
 * eight bytes at a time: two subtractions tell whether any of the eight is a
 * control character, and only then (a tab, or an error) they are looked at
 * one by one. */
#include "codec/http_text.h"

#include <stdint.h>

const char http_text_lower[256] = {
    ['!'] = '!',   ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&',
    ['\''] = '\'', ['*'] = '*', ['+'] = '+', ['-'] = '-', ['.'] = '.',
    ['^'] = '^',   ['_'] = '_', ['`'] = '`', ['|'] = '|', ['~'] = '~',
    ['0'] = '0',   ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',
    ['5'] = '5',   ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9',
    ['a'] = 'a',   ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e',
    ['f'] = 'f',   ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j',
    ['k'] = 'k',   ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o',
    ['p'] = 'p',   ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't',
    ['u'] = 'u',   ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y',
    ['z'] = 'z',   ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd',
    ['E'] = 'e',   ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i',
    ['J'] = 'j',   ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n',
    ['O'] = 'o',   ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's',
    ['T'] = 't',   ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x',
    ['Y'] = 'y',   ['Z'] = 'z',
};

bool http_text_is_token(struct slice s)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        if (http_text_lower[(uint8_t)s.p[i]] == 0)
            return false;
    }
    return s.len > 0;
}

static bool is_plain(const char *p, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        uint8_t c = (uint8_t)p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* May a byte of these eight be a control character?  Never misses one. */
static bool is_suspect(const char *p)
{
    uint64_t x, del;

    memcpy(&x, p, 8);
    del = x ^ EACH(0x7f);
    return ((((x - EACH(0x20)) & ~x) | ((del - EACH(1)) & ~del)) &
            EACH(0x80)) != 0;
}

/* The last eight bytes overlap what was seen before instead of being fewer. */
bool http_text_is_value(struct slice s)
{
    size_t i;

    if (s.len < 8)
        return is_plain(s.p, s.len);
    for (i = 0; i < s.len - 8; i += 8) {
        if (is_suspect(s.p + i) && !is_plain(s.p + i, 8))
            return false;
    }
    i = s.len - 8;
    return !is_suspect(s.p + i) || is_plain(s.p + i, 8);
}

bool http_text_eq(struct slice s, const char *lower)
{
    size_t i;

    if (s.len != strlen(lower))
        return false;
    for (i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (c == lower[i])
            continue;
        if (c < 'A' || c > 'Z' || c + ('a' - 'A') != lower[i])
            return false;
    }
    return true;
}

bool http_text_next(struct slice *element, struct slice *rest)
{
    const char *comma;
    size_t n;

    if (rest->len == 0)
        return false;
    comma = memchr(rest->p, ',', rest->len);
    n = comma != NULL ? (size_t)(comma - rest->p) : rest->len;
    *element = http_text_trim(slice_make(rest->p, n));
    *rest = slice_skip(*rest, comma != NULL ? n + 1 : n);
    return true;
}
