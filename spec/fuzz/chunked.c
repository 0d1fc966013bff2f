/* chunked.c - the chunked decoder, in one piece and in portions. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "codec/chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct chunked state;
    struct buf body;
    size_t used;
    int verdict;
};

static void feed(struct run *r, const uint8_t *data, size_t len, size_t step)
{
    do {
        size_t n = step < len - r->used ? step : len - r->used;
        char *portion = malloc(n > 0 ? n : 1);
        struct slice in = slice_make(portion, n), piece;

        memcpy(portion, data + r->used, n);
        do {
            r->verdict = chunked_next(&piece, &r->state, &in);
            if (r->verdict == 1) {
                sd_assert(piece.len > 0 && piece.p >= portion);
                sd_assert(piece.p + piece.len <= portion + n);
                buf_append(&r->body, piece.p, piece.len);
            }
        } while (r->verdict == 1);
        sd_assert(r->verdict != SD_EAGAIN || in.len == 0);
        r->used += n - in.len;
        free(portion);
    } while (r->verdict == SD_EAGAIN && r->used < len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole = {0}, split = {0}, pair = {0};

    if (size < 1)
        return 0;
    chunked_init(&whole.state);
    feed(&whole, data + 1, size - 1, size);
    feed(&split, data + 1, size - 1, 1);
    feed(&pair, data + 1, size - 1, 1 + data[0]);
    sd_assert(whole.verdict == split.verdict && whole.used == split.used);
    sd_assert(whole.verdict == pair.verdict && whole.used == pair.used);
    sd_assert(slice_eq(buf_slice(&whole.body), buf_slice(&split.body)));
    sd_assert(slice_eq(buf_slice(&whole.body), buf_slice(&pair.body)));
    sd_assert(whole.state.total == split.state.total);
    sd_assert(whole.body.len <= whole.state.total);
    if (whole.verdict == 0)
        sd_assert(whole.body.len == whole.state.total);
    buf_fini(&whole.body);
    buf_fini(&split.body);
    buf_fini(&pair.body);
    return 0;
}
