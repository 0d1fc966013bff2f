/* page.c - see page.h.
 *
 * Two copies, written in turn: the serial says which one holds, and it is
 * stored when the copy is whole.  A writer that is killed leaves the other
 * copy as it was.  A reader that was overtaken looks again; writers come a few
 * times a second, so that hardly ever happens. */
#include "ipc/page.h"

#include <stdalign.h>
#include <stdatomic.h>

enum {
    LINE = 64,
    LOOKS = 1000 /* a reader gives up being exact after so many */
};

struct page {
    alignas(LINE) _Atomic uint64_t serial; /* copy [serial % 2] holds */
    _Atomic uint64_t word[];               /* of both */
};

size_t page_size(unsigned words)
{
    size_t size = sizeof(struct page) + 2 * (size_t)words * sizeof(uint64_t);

    return (size + LINE - 1) / LINE * LINE;
}

void page_write(struct page *p, const uint64_t *v, unsigned words)
{
    uint64_t next = atomic_load_explicit(&p->serial, memory_order_relaxed) + 1;
    _Atomic uint64_t *copy = p->word + (next % 2) * words;

    /* The copy's old readers see the serial that made it old. */
    atomic_thread_fence(memory_order_release);
    for (unsigned i = 0; i < words; i++)
        atomic_store_explicit(&copy[i], v[i], memory_order_relaxed);
    atomic_store_explicit(&p->serial, next, memory_order_release);
}

uint64_t page_serial(const struct page *p)
{
    return atomic_load_explicit(&p->serial, memory_order_acquire);
}

void page_read(const struct page *p, uint64_t *out, unsigned words)
{
    uint64_t before, after;
    unsigned looks = 0;

    do {
        const _Atomic uint64_t *copy;

        before = atomic_load_explicit(&p->serial, memory_order_acquire);
        copy = p->word + (before % 2) * words;
        for (unsigned i = 0; i < words; i++)
            out[i] = atomic_load_explicit(&copy[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&p->serial, memory_order_relaxed);
    } while (before != after && ++looks < LOOKS);
}
