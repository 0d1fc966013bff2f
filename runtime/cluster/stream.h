/* stream.h - frames over a link: packed into records, sealed, and back.
 *
 * What the two sides of a link say are frames: a type and a payload.  What is
 * on the wire are records of up to 64 KiB that hold frames one after the
 * other; a frame may span records.  A record is sealed as one piece, so its
 * cost is shared by all frames of a turn.
 *
 * Writing, into a buf of the caller's:
 *
 *     err = stream_write(s, &out, type, v, n);      any number of times
 *     stream_seal(s, &out);                         once, before sending
 *
 * Reading:
 *
 *     stream_feed(s, received);
 *     while ((err = stream_next(s, &frame)) == 1)
 *         ...
 */
#ifndef SD_CLUSTER_STREAM_H
#define SD_CLUSTER_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "codec/wire.h"

enum {
    STREAM_KEY = 32,
    STREAM_TAG = 16,
    STREAM_RECORD_MAX = 64 * 1024, /* bytes of frames in a record */
    STREAM_HEAD = 5,               /* bytes before a frame's payload */
    STREAM_FRAME_MAX = WIRE_BODY_MAX + 4096, /* addresses, wire head, body */
};

struct stream_frame {
    struct slice payload; /* borrowed until the next stream_feed() */
    uint8_t type;
};

struct stream;

/* Both directions of one link, from the first byte after the handshake.  The
 * keys are copied and must differ; both NULL: records are not encrypted, and
 * whoever can write on the wire can change them. */
struct stream *stream_create(const unsigned char *send,
                             const unsigned char *receive);
void stream_free(struct stream **s);

/* Append one frame, its payload being the pieces v[0..n).  SD_ETOOLARGE when
 * that is over STREAM_FRAME_MAX; then nothing was written.  Until
 * stream_seal(), the end of `out` is an open record: bytes may be consumed in
 * front of it (stream_sealed() says how many), and nobody else may append. */
int stream_write(struct stream *s, struct buf *out, uint8_t type,
                 const struct slice *v, unsigned n);

/* Close the open record, if there is one.  All of `out` may be sent now. */
void stream_seal(struct stream *s, struct buf *out);

/* Bytes in front of the open record. */
size_t stream_sealed(const struct stream *s, const struct buf *out);

/* Take received bytes, cut anywhere.  Frames got before are void.  Memory
 * grows by what has come, never by what was announced. */
void stream_feed(struct stream *s, struct slice in);

/* The next frame.  1: *f is set.  0: no whole frame is there.  SD_EPROTO: a
 * record that was changed, or a length out of bounds; close the link.  Frames
 * before the fault are still given, in order; none after it. */
int stream_next(struct stream *s, struct stream_frame *f);

#endif
