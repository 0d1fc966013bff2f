/* transcode.c - any bytes: what becomes JSON is JSON, all else leaves the
 * buffer as it was. */
#include <stdint.h>

#include "base/assert.h"
#include "codec/json.h"
#include "codec/msgpack.h"
#include "codec/transcode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf out, scratch;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why = NULL;
    struct json j;
    int token;

    buf_truncate(&out, 0);
    buf_append(&out, "x", 1);
    if (transcode_json(&out, slice_make(data, size), &why) < 0) {
        sd_assert(out.len == 1 && why != NULL);
        return 0;
    }
    sd_assert(msgpack_check(slice_make(data, size)) == (int64_t)size);
    json_init(&j, slice_skip(buf_slice(&out), 1), &scratch);
    while ((token = json_next(&j)) > 0)
        continue;
    sd_assert(token == JSON_END);
    return 0;
}
