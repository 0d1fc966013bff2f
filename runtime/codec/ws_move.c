/* ws_move.c - a reader's state as facts of the wire, see ws.h.
 *
 * What a reader keeps besides is only so that no byte is looked at twice: how
 * much of the frame in front was unmasked, and how its text stands.  None of
 * it travels.  The new reader finds the frame as it had arrived and judges the
 * message so far once more, so nothing that somebody else says about bytes has
 * to be believed. */
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "codec/ws.h"

enum {
    LEN_BITS = 0x7f, /* of the second byte */
    LEN_16 = 126,
    LEN_64 = 127,
    HEAD = 2, /* before a longer length */
    KEY = 4
};

void ws_reader_raw(const struct ws_reader *r, char *p, size_t len)
{
    unsigned char key[KEY];
    size_t at = HEAD;

    if (r->done == 0)
        return;
    sd_assert(len >= HEAD);
    if ((p[1] & LEN_BITS) == LEN_16)
        at += 2;
    else if ((p[1] & LEN_BITS) == LEN_64)
        at += 8;
    sd_assert(len >= at + KEY + r->done);
    memcpy(key, p + at, KEY);
    ws_mask(p + at + KEY, r->done, key, 0);
}

int ws_reader_restore(struct ws_reader *r, unsigned opcode, unsigned fragments,
                      struct slice message)
{
    sd_assert(r->opcode == 0 && r->done == 0 && r->message.len == 0);
    if (opcode == 0)
        return fragments == 0 && message.len == 0 ? 0 : SD_EINVALID;
    if ((opcode != WS_TEXT && opcode != WS_BINARY) || fragments == 0 ||
        fragments > WS_FRAGMENTS_MAX)
        return SD_EINVALID;
    if (message.len > r->max)
        return SD_ETOOLARGE;
    if (opcode == WS_TEXT && !utf8_feed(&r->utf8, message))
        return SD_EINVALID;
    r->opcode = (uint8_t)opcode;
    r->fragments = (uint16_t)fragments;
    buf_append(&r->message, message.p, message.len);
    return 0;
}
