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

bool http_text_is_value(struct slice s)
{
    const uint64_t ones = 0x0101010101010101;
    const uint64_t high = 0x8080808080808080;

    while (s.len >= 8) {
        uint64_t x, del, suspect;

        memcpy(&x, s.p, 8);
        del = x ^ (ones * 0x7f);
        suspect = ((x - ones * 0x20) & ~x) | ((del - ones) & ~del);
        if ((suspect & high) != 0 && !is_plain(s.p, 8))
            return false;
        s = slice_skip(s, 8);
    }
    return is_plain(s.p, s.len);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice http_text_trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.p[0]))
        s = slice_skip(s, 1);
    while (s.len > 0 && is_blank(s.p[s.len - 1]))
        s.len--;
    return s;
}

bool http_text_eq(struct slice s, const char *lower)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        if (lower[i] == 0 || c != lower[i])
            return false;
    }
    return lower[i] == 0;
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
