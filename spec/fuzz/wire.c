/* wire.c - any bytes: what is read was there, and writes back the same. */
#include <stdint.h>

#include "base/assert.h"
#include "base/err.h"
#include "codec/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf again;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_make(data, size), body;
    struct wire_head h;
    int n = wire_read(&h, &body, bytes);

    if (n < 0) {
        sd_assert(n == SD_EAGAIN || n == SD_EPROTO);
        return 0;
    }
    sd_assert(n >= WIRE_HEAD && (size_t)n <= size);
    sd_assert(body.p == bytes.p + WIRE_HEAD);
    sd_assert(body.len == (size_t)n - WIRE_HEAD);
    buf_truncate(&again, 0);
    if ((h.flags & WIRE_FD) != 0) {
        wire_encode(buf_reserve(&again, WIRE_HEAD), &h);
        buf_commit(&again, WIRE_HEAD);
    } else {
        sd_assert(wire_write(&again, &h, body) == 0);
    }
    sd_assert(slice_eq(buf_slice(&again), slice_make(data, (size_t)n)));
    (void)wire_age(&h, size);
    return 0;
}
