/* frame.c - any spec, any bytes: cut the same whatever the chunks, and what
 * was cut can be framed again.
 *
 * The first 16 bytes choose the spec and the chunks, the rest is the stream. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "codec/frame.h"

enum {
    CONTROL = 16,
    MAX = 4096, /* small, so that the limit is met */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int spec_from(struct frame_spec *s, const uint8_t *c)
{
    static const uint8_t widths[] = {1, 2, 3, 4, 8, FRAME_VARINT};
    const char *why;

    frame_spec_init(s, c[0] % FRAME_PACK);
    s->max = (uint32_t)(c[1] << 8 | c[2]) % MAX;
    s->offset = c[3] % 9;
    s->add = c[4] - 128;
    s->bytes = widths[c[5] % sizeof(widths)];
    s->little = c[6] & 1;
    s->includes_header = c[6] & 2;
    s->whole = c[6] & 4;
    s->size = c[7];
    s->delimiter_len = c[8] % (FRAME_DELIMITER_MAX + 2);
    memset(s->delimiter, c[9], sizeof(s->delimiter));
    s->delimiter[0] = (char)c[10];
    return frame_spec_check(s, &why);
}

/* Framing a body that came in gives a packet that reads back as that body. */
static void send_again(const struct frame_spec *s, struct slice body)
{
    struct frame f = {0};
    struct buf b = {0};
    size_t start;

    buf_append(&b, "old", 3);
    start = frame_begin(s, &b);
    buf_append(&b, body.p, body.len);
    sd_assert(frame_seal(s, &b, start) == 0);
    sd_assert(frame_next(s, slice_skip(buf_slice(&b), 3), &f) == 1);
    sd_assert(f.size == b.len - 3);
    sd_assert(s->bytes == FRAME_VARINT || slice_eq(f.body, body));
    buf_fini(&b);
}

/* Any body is framed or refused, and a refusal leaves nothing. */
static void send_any(const struct frame_spec *s, struct slice body)
{
    struct frame f = {0};
    struct buf b = {0};
    size_t start = frame_begin(s, &b);
    int err;

    buf_append(&b, body.p, body.len);
    err = frame_seal(s, &b, start);
    sd_assert(err == 0 || err == SD_EINVALID || err == SD_ETOOLARGE);
    if (err < 0)
        sd_assert(b.len == 0);
    else if (b.len > 0)
        sd_assert(frame_next(s, buf_slice(&b), &f) == 1 && f.size == b.len);
    buf_fini(&b);
}

/* Feed the stream in chunks of `step` bytes; append body lengths, bodies and
 * the error to `log`. */
static void run(const struct frame_spec *s, const uint8_t *p, size_t size,
                size_t step, struct buf *log)
{
    struct frame f = {0};
    size_t at = 0, have = 0;
    int n = 0;

    while (have < size && n >= 0) {
        have = size - have < step ? size : have + step;
        /* A block of exactly the bytes there are, for the sanitizer. */
        char *copy = malloc(have - at + 1);
        memcpy(copy, p + at, have - at);
        struct slice in = slice_make(copy, have - at);

        while ((n = frame_next(s, in, &f)) == 1) {
            sd_assert(f.size > 0 && f.size <= in.len && f.scanned == 0);
            sd_assert(f.size <= (s->max > 0 ? s->max : FRAME_MAX));
            buf_append(log, &f.body.len, sizeof(f.body.len));
            buf_append(log, f.body.p, f.body.len);
            send_again(s, f.body);
            at += f.size;
            in = slice_skip(in, f.size);
            if (in.len == 0)
                break;
        }
        sd_assert(n != 0 || f.need > in.len);
        free(copy);
    }
    buf_append(log, &n, n < 0 ? sizeof(n) : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0}, cut = {0}, single = {0};
    struct frame_spec s;

    if (size < CONTROL || spec_from(&s, data) < 0)
        return 0;
    if (s.type == FRAME_RAW)
        return 0;
    size -= CONTROL;
    run(&s, data + CONTROL, size, size + 1, &whole);
    run(&s, data + CONTROL, size, data[15] + 1u, &cut);
    run(&s, data + CONTROL, size, 1, &single);
    sd_assert(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    sd_assert(slice_eq(buf_slice(&whole), buf_slice(&single)));
    send_any(&s, slice_make(data + CONTROL, size));
    buf_fini(&whole);
    buf_fini(&cut);
    buf_fini(&single);
    return 0;
}
