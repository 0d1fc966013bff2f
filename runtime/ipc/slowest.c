/* slowest.c - see slowest.h.  A page: the epoch, how many, and the conns. */
#include "ipc/slowest.h"

#include <string.h>

#include "base/assert.h"
#include "ipc/page.h"

enum {
    CONN_WORDS = sizeof(struct slow_conn) / sizeof(uint64_t),
    WORDS = 2 + SLOWEST_MAX * CONN_WORDS
};

_Static_assert(CONN_WORDS * sizeof(uint64_t) == sizeof(struct slow_conn),
               "no gaps");

static struct page *page_of(struct slowest *s)
{
    return (struct page *)(void *)s;
}

size_t slowest_size(void)
{
    return page_size(WORDS);
}

void slowest_publish(struct slowest *page, uint16_t epoch,
                     const struct slow_conn *list, unsigned n)
{
    uint64_t v[WORDS] = {epoch, n};

    sd_assert(n <= SLOWEST_MAX);
    memcpy(v + 2, list, n * sizeof(*list));
    page_write(page_of(page), v, WORDS);
}

unsigned slowest_read(struct slowest *page, uint16_t epoch,
                      struct slow_conn *out)
{
    uint64_t v[WORDS];
    unsigned i;

    page_read(page_of(page), v, WORDS);
    if (v[0] != epoch || v[1] > SLOWEST_MAX)
        return 0;
    memcpy(out, v + 2, v[1] * sizeof(*out));
    for (i = 0; i < v[1]; i++) { /* nothing shared is trusted */
        if (out[i].uid_len > SLOWEST_UID)
            out[i].uid_len = SLOWEST_UID;
        out[i].address[SLOWEST_ADDRESS - 1] = '\0';
    }
    return i;
}
