/* http1.c - the request head parser, in one piece and byte by byte.
 *
 * The first byte picks the limits, so that they are met with short inputs. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "codec/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_HEADERS 16

struct run {
    struct http1_head head;
    struct http1_header headers[MAX_HEADERS];
    char *bytes;
    int verdict;
};

/* Feed `step` bytes more at a time, each time at a fresh address. */
static void feed(struct run *r, const uint8_t *data, size_t len, size_t step)
{
    size_t have = 0;

    do {
        size_t n = have + step < len ? have + step : len;
        char *moved = malloc(n + 1);

        if (have > 0)
            memcpy(moved, r->bytes, have);
        memcpy(moved + have, data + have, n - have);
        free(r->bytes);
        r->bytes = realloc(moved, n > 0 ? n : 1);
        have = n;
        r->verdict = http1_parse(&r->head, r->bytes, n);
        sd_assert(http1_parse(&r->head, r->bytes, n) == r->verdict);
    } while (r->verdict == SD_EAGAIN && have < len);
}

static void check_span(const struct http1_head *h, struct http1_span s)
{
    sd_assert(s.off <= h->size && s.len <= h->size - s.off);
}

static void check_same(struct http1_head a, struct http1_head b)
{
    sd_assert(a.status == b.status && a.size == b.size && a.count == b.count);
    if (a.size == 0)
        return;
    sd_assert(a.method == b.method && a.minor == b.minor);
    sd_assert(a.content_length == b.content_length);
    sd_assert(a.chunked == b.chunked && a.keep_alive == b.keep_alive);
    sd_assert(a.expect_continue == b.expect_continue);
    sd_assert(a.upgrade == b.upgrade && a.websocket == b.websocket);
    sd_assert(slice_eq(http1_slice(&a, a.path), http1_slice(&b, b.path)));
    sd_assert(slice_eq(http1_slice(&a, a.query), http1_slice(&b, b.query)));
    sd_assert(slice_eq(http1_slice(&a, a.host), http1_slice(&b, b.host)));
    sd_assert(slice_eq(http1_slice(&a, a.target), http1_slice(&b, b.target)));
}

static void check_good(const struct run *r)
{
    const struct http1_head *h = &r->head;
    struct slice out;
    uint32_t i;

    check_span(h, h->target);
    check_span(h, h->path);
    check_span(h, h->query);
    check_span(h, h->host);
    check_span(h, h->method_name);
    sd_assert(h->path.len > 0 && h->method_name.len > 0);
    sd_assert(h->minor == 0 || h->host.len > 0);
    sd_assert(!h->chunked || h->content_length < 0);
    sd_assert(!h->chunked || h->minor == 1);
    for (i = 0; i < h->count; i++) {
        check_span(h, r->headers[i].name);
        check_span(h, r->headers[i].value);
    }
    sd_assert(memcmp(h->base + h->size - 4, "\r\n\r\n", 4) == 0);
    sd_assert(http1_find(&out, h, "content-length") ==
              (h->content_length >= 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t limits[] = {16384, 64, 20, 200};
    struct run whole = {0}, split = {0}, pair = {0};
    uint32_t max_head, max_headers;

    if (size < 1)
        return 0;
    max_head = limits[data[0] & 3];
    max_headers = data[0] & 4 ? 2 : MAX_HEADERS;
    http1_init(&whole.head, whole.headers, max_headers, max_head);
    http1_init(&split.head, split.headers, max_headers, max_head);
    http1_init(&pair.head, pair.headers, max_headers, max_head);
    feed(&whole, data + 1, size - 1, size);
    feed(&split, data + 1, size - 1, 1);
    feed(&pair, data + 1, size - 1, 1 + (data[0] >> 3));
    sd_assert(whole.verdict == split.verdict);
    sd_assert(whole.verdict == pair.verdict);
    check_same(whole.head, split.head);
    check_same(whole.head, pair.head);
    if (whole.verdict == 0)
        check_good(&whole);
    free(whole.bytes);
    free(split.bytes);
    free(pair.bytes);
    return 0;
}
