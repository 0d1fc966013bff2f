/* counters.c - see counters.h.
 *
 * Two copies, written in turn: the serial says which one holds, and it is
 * stored when the copy is whole.  A writer that is killed leaves the other
 * copy as it was.  A reader that was overtaken looks again; writers come four
 * times a second, so that hardly ever happens. */
#include "ipc/counters.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

enum {
    LOOKS = 1000 /* a reader gives up being exact after so many */
};

struct counters {
    alignas(64) _Atomic uint64_t serial; /* copy [serial % 2] holds */
    _Atomic uint64_t copy[2][COUNTERS];
};

size_t counters_size(void)
{
    return sizeof(struct counters);
}

void counters_read(const struct counters *page, uint64_t *out)
{
    uint64_t before, after;
    unsigned i, looks = 0;

    do {
        before = atomic_load_explicit(&page->serial, memory_order_acquire);
        for (i = 0; i < COUNTERS; i++)
            out[i] = atomic_load_explicit(&page->copy[before % 2][i],
                                          memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&page->serial, memory_order_relaxed);
    } while (before != after && ++looks < LOOKS);
}

void counters_begin(struct counters_writer *w, struct counters *page)
{
    static const uint64_t nothing[COUNTERS];
    unsigned i;

    w->page = page;
    counters_read(page, w->base);
    w->base[COUNT_MESSAGES_CRASHED] += w->base[COUNT_MESSAGES_IN_FLIGHT];
    w->base[COUNT_PUSHES_CRASHED] += w->base[COUNT_PUSHES_IN_FLIGHT];
    for (i = 0; i < COUNTERS; i++) {
        if (counter_is_gauge((enum counter)i))
            w->base[i] = 0;
    }
    counters_publish(w, nothing);
}

void counters_publish(struct counters_writer *w, const uint64_t *v)
{
    struct counters *page = w->page;
    uint64_t next =
        atomic_load_explicit(&page->serial, memory_order_relaxed) + 1;
    unsigned i;

    /* The copy's old readers see the serial that made it old. */
    atomic_thread_fence(memory_order_release);
    for (i = 0; i < COUNTERS; i++)
        atomic_store_explicit(&page->copy[next % 2][i], w->base[i] + v[i],
                              memory_order_relaxed);
    atomic_store_explicit(&page->serial, next, memory_order_release);
}

bool counter_is_gauge(enum counter c)
{
    return c == COUNT_MESSAGES_IN_FLIGHT || c == COUNT_PUSHES_IN_FLIGHT ||
           c == COUNT_QUEUE_BYTES;
}
