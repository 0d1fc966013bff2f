/* slowest.c - see slowest.h.
 *
 * Two copies, written in turn; the serial says which one holds, as in
 * counters.c. */
#include "ipc/slowest.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"

enum {
    WORDS = sizeof(struct slow_conn) / sizeof(uint64_t),
    LOOKS = 1000 /* a reader gives up after so many */
};

_Static_assert(WORDS * sizeof(uint64_t) == sizeof(struct slow_conn), "no gaps");

struct copy {
    _Atomic uint64_t epoch, n;
    _Atomic uint64_t word[SLOWEST_MAX * WORDS];
};

struct slowest {
    alignas(64) _Atomic uint64_t serial; /* copy [serial % 2] holds */
    struct copy copy[2];
};

#define get(x)    atomic_load_explicit(x, memory_order_relaxed)
#define set(x, v) atomic_store_explicit(x, v, memory_order_relaxed)

size_t slowest_size(void)
{
    return sizeof(struct slowest);
}

void slowest_publish(struct slowest *page, uint16_t epoch,
                     const struct slow_conn *list, unsigned n)
{
    uint64_t next = get(&page->serial) + 1, word;
    struct copy *c = &page->copy[next % 2];
    unsigned i;

    sd_assert(n <= SLOWEST_MAX);
    atomic_thread_fence(memory_order_release);
    set(&c->epoch, epoch);
    set(&c->n, n);
    for (i = 0; i < n * WORDS; i++) {
        memcpy(&word, (const char *)list + i * sizeof(word), sizeof(word));
        set(&c->word[i], word);
    }
    atomic_store_explicit(&page->serial, next, memory_order_release);
}

static unsigned read_copy(const struct copy *c, uint16_t epoch,
                          struct slow_conn *out)
{
    uint64_t n = get(&c->epoch) == epoch ? get(&c->n) : 0, word;

    n = n <= SLOWEST_MAX ? n : 0;
    for (unsigned i = 0; i < n * WORDS; i++) {
        word = get(&c->word[i]);
        memcpy((char *)out + i * sizeof(word), &word, sizeof(word));
    }
    return (unsigned)n;
}

unsigned slowest_read(const struct slowest *page, uint16_t epoch,
                      struct slow_conn *out)
{
    uint64_t before;
    unsigned n, looks = 0;

    do {
        before = atomic_load_explicit(&page->serial, memory_order_acquire);
        n = read_copy(&page->copy[before % 2], epoch, out);
        atomic_thread_fence(memory_order_acquire);
    } while (get(&page->serial) != before && ++looks < LOOKS);
    return n;
}
