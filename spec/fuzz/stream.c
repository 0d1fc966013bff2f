/* stream.c - hostile bytes against the reader of a link, and frames that come
 * back as they were written.
 *
 * The first byte chooses what is done, the next three the chunks.  Read: the
 * rest is what a peer sent.  Write: the rest is a list of frames, each a type,
 * two bytes of length (times SCALE when the type is odd), and a byte whose
 * lowest bit ends the turn; in between a byte of the wire may be changed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "cluster/stream.h"

enum {
    SEALED = 1, /* bits of the first byte */
    WRITE = 2,
    CHANGE = 4,
    CONTROL = 8,
    FRAME = 4,   /* bytes that describe a frame */
    SCALE = 3,   /* so that frames span records */
    FRAMES = 64, /* at most in one input */
    WIRE = 128 * 1024,
    CHUNKS = 512, /* at most, or about so many */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char a[STREAM_KEY] = "a", b[STREAM_KEY] = "b";

static struct stream *end(bool sealed, bool first)
{
    if (!sealed)
        return stream_create(NULL, NULL);
    return first ? stream_create(a, b) : stream_create(b, a);
}

static void note(struct buf *log, uint8_t type, struct slice payload)
{
    buf_append(log, &type, 1);
    buf_append(log, &payload.len, sizeof(payload.len));
    buf_append(log, payload.p, payload.len);
}

/* Feed `in` in chunks of up to `step` bytes; append the frames to `log`. */
static int run(bool sealed, struct slice in, size_t step, struct buf *log)
{
    struct stream *s = end(sealed, false);
    struct stream_frame f;
    size_t i = 0, n;
    int err = 0;

    while (in.len > 0) {
        n = 1 + (i++ * 7919 + step) % step;
        n = n < in.len ? n : in.len;
        /* A block of exactly these bytes, gone before the frames are read. */
        char *copy = malloc(n);
        memcpy(copy, in.p, n);
        stream_feed(s, slice_make(copy, n));
        free(copy);
        while ((err = stream_next(s, &f)) == 1)
            note(log, f.type, f.payload);
        sd_assert(err == 0 || err == SD_EPROTO);
        in = slice_skip(in, n);
    }
    stream_free(&s);
    return err;
}

/* Whatever the chunks, the same; the answer and, in `log`, the frames. */
static int read_all(bool sealed, struct slice in, const uint8_t *control,
                    struct buf *log)
{
    size_t step = 1 + (control[1] | (size_t)control[2] << 8) + in.len / CHUNKS;
    struct buf cut = {0};
    int err = run(sealed, in, in.len + 1, log);

    sd_assert(run(sealed, in, step, &cut) == err);
    sd_assert(slice_eq(buf_slice(log), buf_slice(&cut)));
    if (in.len < 512) {
        buf_truncate(&cut, 0);
        sd_assert(run(sealed, in, 1, &cut) == err);
        sd_assert(slice_eq(buf_slice(log), buf_slice(&cut)));
    }
    buf_fini(&cut);
    return err;
}

/* The frames that the input describes, on the wire and in `log`. */
static void write_all(bool sealed, struct slice in, struct buf *wire,
                      struct buf *log)
{
    static char payload[0xffff * SCALE];
    struct stream *s = end(sealed, true);
    unsigned n;

    for (n = 0; n < FRAMES && in.len >= FRAME; n++) {
        const uint8_t *p = (const uint8_t *)in.p;
        size_t len = p[1] | (size_t)p[2] << 8, first;
        struct slice v[2];

        if ((p[0] & 1) != 0)
            len *= SCALE;
        first = len / (1 + p[3] / 2);
        payload[len / 2] = (char)p[3];
        v[0] = slice_make(payload, first);
        v[1] = slice_make(payload + first, len - first);
        sd_assert(stream_write(s, wire, p[0], v, 2) == 0);
        note(log, p[0], slice_make(payload, len));
        if ((p[3] & 1) != 0)
            stream_seal(s, wire);
        in = slice_skip(in, FRAME);
        if (wire->len > WIRE)
            break;
    }
    stream_seal(s, wire);
    sd_assert(stream_sealed(s, wire) == wire->len);
    stream_free(&s);
}

static void write_and_read(const uint8_t *control, struct slice in)
{
    bool sealed = (control[0] & SEALED) != 0;
    bool change = (control[0] & CHANGE) != 0;
    struct buf wire = {0}, written = {0}, got = {0};
    size_t at;
    int err;

    write_all(sealed, in, &wire, &written);
    if (change && wire.len > 0) {
        at = (control[3] | (size_t)control[4] << 8 | (size_t)control[5] << 16) %
             wire.len;
        wire.p[wire.head + at] ^= (char)(control[6] | 1);
    }
    err = read_all(sealed, buf_slice(&wire), control, &got);
    if (!change || wire.len == 0) {
        sd_assert(err == 0);
        sd_assert(slice_eq(buf_slice(&got), buf_slice(&written)));
    } else if (sealed) {
        sd_assert(got.len < written.len);
        sd_assert(slice_eq(buf_slice(&got), slice_make(written.p, got.len)));
    }
    buf_fini(&wire);
    buf_fini(&written);
    buf_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf log = {0};
    struct slice rest;

    if (size < CONTROL)
        return 0;
    rest = slice_make(data + CONTROL, size - CONTROL);
    if ((data[0] & WRITE) != 0) {
        write_and_read(data, rest);
    } else {
        (void)read_all((data[0] & SEALED) != 0, rest, data, &log);
        buf_fini(&log);
    }
    return 0;
}
