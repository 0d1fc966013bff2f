/* utf8.c - see utf8.h.
 *
 * The first byte of a character decides how many follow and, for four of the
 * lead bytes, narrows the range of the second: that range is what keeps
 * overlong forms, surrogates and numbers above U+10FFFF out.  So the whole
 * state is a count and a range, and a piece may end anywhere.
 *
 * Most text is ASCII: sixteen bytes at a time are looked at for a high bit. */
#include "codec/utf8.h"

#include <string.h>

#define HIGH_BITS 0x8080808080808080ull

static const unsigned char *skip_ascii(const unsigned char *p,
                                       const unsigned char *end)
{
    uint64_t v[2];

    while (end - p >= 16) {
        memcpy(v, p, sizeof(v));
        if ((v[0] | v[1]) & HIGH_BITS)
            break;
        p += 16;
    }
    while (p < end && *p < 0x80)
        p++;
    return p;
}

/* Open the character that `lead` (above 0x7f) begins. */
static bool lead_open(struct utf8 *u, unsigned char lead)
{
    if (lead < 0xc2 || lead > 0xf4)
        return false;
    u->lo = 0x80;
    u->hi = 0xbf;
    if (lead < 0xe0) {
        u->left = 1;
    } else if (lead < 0xf0) {
        u->left = 2;
        if (lead == 0xe0)
            u->lo = 0xa0;
        else if (lead == 0xed)
            u->hi = 0x9f;
    } else {
        u->left = 3;
        if (lead == 0xf0)
            u->lo = 0x90;
        else if (lead == 0xf4)
            u->hi = 0x8f;
    }
    return true;
}

bool utf8_feed(struct utf8 *u, struct slice piece)
{
    const unsigned char *p = (const unsigned char *)piece.p;
    const unsigned char *end = p + piece.len;
    struct utf8 s = *u;

    while (p < end) {
        if (s.left == 0) {
            p = skip_ascii(p, end);
            if (p == end)
                break;
            if (!lead_open(&s, *p++))
                return false;
        } else {
            if (*p < s.lo || *p > s.hi)
                return false;
            p++;
            s.left--;
            s.lo = 0x80;
            s.hi = 0xbf;
        }
    }
    *u = s;
    return true;
}

bool utf8_is_valid(struct slice s)
{
    struct utf8 u = {0};

    return utf8_feed(&u, s) && utf8_is_done(&u);
}

size_t utf8_cut(struct slice s, size_t max)
{
    if (s.len <= max)
        return s.len;
    while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
        max--;
    return max;
}

size_t utf8_put(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}
