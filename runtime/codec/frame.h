/* frame.h - where a packet ends: the framings of a TCP port.
 *
 * A frame_spec is what `frame = {...}` of a port says.  Reading: frame_next()
 * cuts the next packet off the received bytes, without copying.  Sending:
 *
 *     start = frame_begin(spec, out);
 *     ... the codec appends the body to `out` ...
 *     err = frame_seal(spec, out, start);
 *
 * UDP datagrams and WebSocket messages have boundaries of their own and do
 * not come here. */
#ifndef SD_CODEC_FRAME_H
#define SD_CODEC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "codec/frame_spec.h"

/* One look at the bytes.  `scanned` goes in and out: set it to 0 once, then
 * hand the same value back for as long as the same packet is incomplete. */
struct frame {
    struct slice body; /* what the codec sees; borrowed from the input */
    size_t size;       /* bytes to consume, number and delimiter included */
    size_t need;       /* incomplete: the packet has at least so many bytes */
    size_t scanned;    /* bytes known to hold no complete delimiter */
};

/* The first packet of `in`.
 *   1              *out has body and size; scanned is 0 again
 *   0              incomplete; out->need > in.len, out->scanned as above
 *   SD_EPROTO      no packet can begin so: a number that is negative or
 *                  smaller than its own head, a varint of over 5 bytes
 *   SD_ETOOLARGE   over max; judged on the number, when it is known
 * After an error the stream cannot be read on.  An empty body is a packet.
 * The answer does not depend on how the bytes arrived.  Not for FRAME_PACK. */
int frame_next(const struct frame_spec *s, struct slice in, struct frame *out);

/* FRAME_PACK: the same answers from what the script's length() gave for `in`
 * (not empty).  `known` is false when it gave nil, else `total` is its
 * number.  The body is the whole packet. */
int frame_cut(const struct frame_spec *s, struct slice in, bool known,
              int64_t total, struct frame *out);

/* Bytes that the sender leaves free in front of a body. */
static inline size_t frame_head_size(const struct frame_spec *s)
{
    return s->type == FRAME_LENGTH && !frame_is_whole(s) ? s->bytes : 0;
}

/* Leave the head's place at the end of `b`; returns `start` for
 * frame_seal().  Between the two only append to `b`: do not consume. */
size_t frame_begin(const struct frame_spec *s, struct buf *b);

/* Everything behind `start` (an index from the first waiting byte) is one
 * body, or one whole packet where the codec makes those: write the number,
 * append the delimiter.  A varint's head moves the body down to close the gap;
 * in a whole packet the number is written over what the codec put at
 * `offset`, a varint in the width found there.
 * Returns 0, or, with `b` cut back to `start`,
 *   SD_EINVALID    a line with a delimiter in it, a fixed body of another
 *                  size, a whole packet too short for its number
 *   SD_ETOOLARGE   over max, or more than the number can say */
int frame_seal(const struct frame_spec *s, struct buf *b, size_t start);

#endif
