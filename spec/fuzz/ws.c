/* ws.c - any bytes give the same events whatever the chunks, and every message
 * that comes out is within the limits; any payload can be sent and read.
 *
 * Three bytes choose the limit and the chunks.  With a further flag the rest
 * is not the stream itself but a recipe of frames, so that masked payloads and
 * long messages are met without guessing keys. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "codec/handshake.h"
#include "codec/ws.h"

enum {
    CONTROL = 3, /* bytes in front of the stream */
    STREAM_MAX = 1 << 16,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event(const struct ws_event *e, uint32_t max)
{
    switch (e->type) {
    case WS_TEXT:
        sd_assert(utf8_is_valid(e->data));
        sd_assert(e->data.len <= max);
        break;
    case WS_BINARY:
        sd_assert(e->data.len <= max);
        break;
    case WS_CLOSE:
        sd_assert(e->code == WS_NO_CODE || ws_is_code(e->code));
        sd_assert(utf8_is_valid(e->data));
        sd_assert(e->data.len <= WS_CONTROL_MAX - 2);
        break;
    case WS_PING:
    case WS_PONG:
        sd_assert(e->data.len <= WS_CONTROL_MAX);
        break;
    default:
        sd_assert(e->type == 0 && e->data.len == 0);
    }
}

static void log_event(struct buf *log, int n, const struct ws_event *e)
{
    if (n == 1 && e->type == 0)
        return;
    buf_append(log, &n, sizeof(n));
    buf_append(log, n < 0 ? &e->code : &e->type, sizeof(int));
    if (n == 1 && e->type == WS_CLOSE)
        buf_append(log, &e->code, sizeof(e->code));
    buf_append(log, &e->data.len, sizeof(e->data.len));
    buf_append(log, e->data.p, e->data.len);
}

/* Feed the stream in chunks of `step` bytes, with a new block of exactly the
 * bytes there are for each chunk, as a conn's tail would move. */
static void run(struct slice stream, uint32_t max, size_t step, struct buf *log)
{
    struct ws_reader r;
    struct ws_event e = {0};
    char *tail = malloc(1);
    size_t len = 0, fed = 0;
    int n = 0;

    ws_reader_init(&r, max);
    while (fed < stream.len && n >= 0) {
        size_t add = stream.len - fed < step ? stream.len - fed : step;
        char *grown = malloc(len + add);
        char *p = grown;

        memcpy(grown, tail, len);
        memcpy(grown + len, stream.p + fed, add);
        free(tail);
        fed += add;
        len += add;
        while (len > 0 && (n = ws_next(&r, p, len, &e)) != 0) {
            log_event(log, n, &e);
            if (n < 0)
                break;
            check_event(&e, r.max);
            sd_assert(e.size > 0 && e.size <= len);
            p += e.size;
            len -= e.size;
        }
        sd_assert(n != 0 || e.need > len);
        tail = malloc(len + 1);
        memcpy(tail, p, len);
        free(grown);
        if (fed % 3 == 0)
            ws_reader_rest(&r);
        sd_assert(r.message.len <= r.max);
    }
    free(tail);
    ws_reader_fini(&r);
}

/* Frames from a recipe: first byte, length, then payload, masked with one key.
 * Lengths take their shortest form. */
static void cook(struct buf *out, const uint8_t *p, size_t size)
{
    while (size >= 3 && out->len < STREAM_MAX) {
        size_t len = (size_t)p[1] | (size_t)(p[2] & 0x0f) << 8;
        unsigned char head[8] = {p[0], 0x80, p[1], p[2], 7, p[0]};
        static const unsigned char key[4] = {0x07, 0xa5, 0x00, 0xff};
        size_t n = 2;

        p += 3;
        size -= 3;
        len = len < size ? len : size;
        if (len < 126) {
            head[1] |= (unsigned char)len;
        } else {
            head[1] |= 126;
            head[2] = (unsigned char)(len >> 8);
            head[3] = (unsigned char)len;
            n = 4;
        }
        memcpy(head + n, key, sizeof(key));
        buf_append(out, head, n + 4);
        buf_append(out, p, len);
        ws_mask(out->p + out->head + out->len - len, len, head + n, 0);
        p += len;
        size -= len;
    }
}

/* What the writer makes of a payload: its own head, then the payload. */
static void send(struct slice payload)
{
    struct buf b = {0};
    size_t head = payload.len < 126 ? 2 : payload.len < 65536 ? 4 : 10;

    ws_put(&b, WS_BINARY, payload);
    sd_assert(b.len == head + payload.len);
    sd_assert(slice_eq(slice_skip(buf_slice(&b), head), payload));
    buf_truncate(&b, 0);
    ws_put_close(&b, WS_NORMAL, payload);
    sd_assert(b.len >= 4 && b.len <= 2 + WS_CONTROL_MAX);
    sd_assert(utf8_is_valid(slice_skip(buf_slice(&b), 4)));
    buf_fini(&b);
}

static void shake(struct slice s)
{
    struct slice ours[2] = {slice_str("chat"), slice_str("game")};
    const char *mid = s.len > 0 ? memchr(s.p, '\n', s.len) : NULL;
    size_t n = mid != NULL ? (size_t)(mid - s.p) : s.len / 2;

    handshake_is_key(s);
    handshake_has_token(s, "upgrade");
    handshake_protocol(s, ours, 2);
    handshake_is_same_origin(slice_make(s.p, n), slice_skip(s, n));
    handshake_is_origin(slice_make(s.p, n), slice_skip(s, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf stream = {0}, whole = {0}, cut = {0}, single = {0};
    uint32_t max;

    if (size < CONTROL)
        return 0;
    max = data[0] > 0 ? data[0] * 16u : 0;
    size -= CONTROL;
    if (data[2] & 1)
        cook(&stream, data + CONTROL, size);
    else
        buf_append(&stream, data + CONTROL, size);
    run(buf_slice(&stream), max, stream.len + 1, &whole);
    run(buf_slice(&stream), max, data[1] + 1u + stream.len / 128, &cut);
    if (stream.len < 1024) {
        run(buf_slice(&stream), max, 1, &single);
        sd_assert(slice_eq(buf_slice(&whole), buf_slice(&single)));
    }
    sd_assert(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    send(slice_make(data + CONTROL, size));
    shake(slice_make(data + CONTROL, size));
    buf_fini(&stream);
    buf_fini(&whole);
    buf_fini(&cut);
    buf_fini(&single);
    return 0;
}
