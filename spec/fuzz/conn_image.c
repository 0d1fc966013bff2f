/* conn_image.c - any bytes: what is read as an image lies within them, can be
 * walked, and writes back to an image that says the same; a WebSocket that is
 * made anew from it reads on within its limits. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "codec/ws.h"
#include "net/conn_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct slice s, struct slice all)
{
    sd_assert(s.len == 0 || (s.p >= all.p && s.p + s.len <= all.p + all.len));
}

/* All that the lists say, for comparing. */
static void tell(struct buf *out, const struct conn_image *image,
                 struct slice all)
{
    struct conn_piece piece;
    struct slice packet;
    struct conn_walk w;

    conn_walk_begin(&w, image->packets);
    while (conn_walk_packet(&w, &packet)) {
        check_inside(packet, all);
        buf_printf(out, "%zu ", packet.len);
        buf_append(out, packet.p, packet.len);
    }
    conn_walk_begin(&w, image->out);
    while (conn_walk_piece(&w, &piece)) {
        check_inside(piece.bytes, all);
        check_inside(piece.value, all);
        sd_assert(piece.bytes.len > 0);
        buf_printf(out, "%d %zu %zu %llu ", piece.is_push, piece.bytes.len,
                   piece.value.len, (unsigned long long)piece.key);
        buf_append(out, piece.bytes.p, piece.bytes.len);
        buf_append(out, piece.value.p, piece.value.len);
    }
}

static void check_same(const struct conn_image *a, const struct conn_image *b)
{
    sd_assert(slice_eq(a->port, b->port) && slice_eq(a->pack, b->pack));
    sd_assert(slice_eq(a->in, b->in) && slice_eq(a->peer, b->peer));
    sd_assert(slice_eq(a->ws_message, b->ws_message));
    sd_assert(slice_eq(a->uid, b->uid) && slice_eq(a->session, b->session));
    sd_assert(a->ws_opcode == b->ws_opcode &&
              a->ws_fragments == b->ws_fragments);
    sd_assert(a->had_uid == b->had_uid && a->has_eof == b->has_eof);
    sd_assert(a->is_half_idle == b->is_half_idle && a->was_slow == b->was_slow);
    sd_assert(a->auth == b->auth && a->idle == b->idle && a->due == b->due);
    sd_assert(a->throttled == b->throttled && a->peer_port == b->peer_port);
    sd_assert(a->paid_messages == b->paid_messages &&
              a->paid_bytes == b->paid_bytes);
}

static void write_again(const struct conn_image *image, struct slice all)
{
    struct buf bytes = {0}, told = {0}, again = {0};
    struct conn_image copy;

    tell(&told, image, all);
    conn_image_write(&bytes, image);
    sd_assert(conn_image_read(&copy, buf_slice(&bytes)) == 0);
    check_same(image, &copy);
    tell(&again, &copy, buf_slice(&bytes));
    sd_assert(slice_eq(buf_slice(&told), buf_slice(&again)));
    buf_fini(&bytes);
    buf_fini(&told);
    buf_fini(&again);
}

static void read_on(const struct conn_image *image, uint32_t max)
{
    struct ws_reader r;
    struct ws_event e;
    char *copy, *p;
    size_t left = image->in.len;

    ws_reader_init(&r, max);
    if (ws_reader_restore(&r, (unsigned)image->ws_opcode,
                          (unsigned)image->ws_fragments,
                          image->ws_message) < 0) {
        ws_reader_fini(&r);
        return;
    }
    p = copy = malloc(left + 1);
    memcpy(copy, image->in.p, left);
    while (left > 0 && ws_next(&r, p, left, &e) > 0) {
        sd_assert(e.size > 0 && e.size <= left && e.data.len <= max);
        sd_assert(r.message.len <= max);
        p += e.size;
        left -= e.size;
    }
    if (ws_reader_is_open(&r)) {
        ws_reader_raw(&r, p, left);
        sd_assert(memcmp(p, image->in.p + (p - copy), left) == 0);
    }
    free(copy);
    ws_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_make(data, size);
    struct conn_image image = {.version = 77};

    if (conn_image_read(&image, all) < 0) {
        sd_assert(image.version == 77);
        return 0;
    }
    check_inside(image.in, all);
    check_inside(image.session, all);
    write_again(&image, all);
    if (image.in.len > 0)
        read_on(&image, 1 + (uint32_t)size / 2);
    return 0;
}
