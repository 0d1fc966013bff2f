/* counters.c - see counters.h.  A page (ipc/page.h) of numbers, to which those
 * of the slot's earlier processes are added. */
#include "ipc/counters.h"

#include "ipc/page.h"

static struct page *page_of(struct counters *c)
{
    return (struct page *)(void *)c;
}

size_t counters_size(void)
{
    return page_size(COUNTERS);
}

void counters_read(struct counters *page, uint64_t *out)
{
    page_read(page_of(page), out, COUNTERS);
}

void counters_begin(struct counters_writer *w, struct counters *page)
{
    static const uint64_t nothing[COUNTERS];
    unsigned i;

    w->page = page;
    counters_read(page, w->base);
    w->base[COUNT_MESSAGES_CRASHED] += w->base[COUNT_MESSAGES_IN_FLIGHT];
    w->base[COUNT_PUSHES_CRASHED] += w->base[COUNT_PUSHES_IN_FLIGHT];
    w->base[COUNT_FAR_CRASHED] += w->base[COUNT_FAR_IN_FLIGHT];
    for (i = 0; i < COUNTERS; i++) {
        if (counter_is_gauge((enum counter)i))
            w->base[i] = 0;
    }
    counters_publish(w, nothing);
}

void counters_publish(struct counters_writer *w, const uint64_t *v)
{
    uint64_t sum[COUNTERS];

    for (unsigned i = 0; i < COUNTERS; i++)
        sum[i] = w->base[i] + v[i];
    page_write(page_of(w->page), sum, COUNTERS);
}

bool counter_is_gauge(enum counter c)
{
    return c == COUNT_MESSAGES_IN_FLIGHT || c == COUNT_PUSHES_IN_FLIGHT ||
           c == COUNT_QUEUE_BYTES || c == COUNT_FAR_IN_FLIGHT ||
           c == COUNT_FAR_KEPT || c == COUNT_FAR_BYTES;
}
