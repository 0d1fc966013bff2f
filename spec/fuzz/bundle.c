/* Any bytes as a bundle: refused, or every entry can be read and found. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice name, data, found;
    struct bundle *b;
    unsigned i;

    if (bundle_open_bytes(&b, slice_make(p, n)) < 0)
        return 0;
    for (i = 0; i < bundle_count(b); i++) {
        bundle_at(b, i, &name, &data);
        sd_assert(strlen(name.p) == name.len && data.p[data.len] == '\0');
        sd_assert(bundle_get(b, name.p, &found) == 1);
    }
    bundle_close(&b);
    return 0;
}
