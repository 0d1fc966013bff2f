/* port_counters.c - see port_counters.h. */
#include "ipc/port_counters.h"

#include <string.h>

#include "base/mem.h"
#include "ipc/page.h"

static struct page *page_of(struct port_counters *c)
{
    return (struct page *)(void *)c;
}

size_t port_counters_size(unsigned ports)
{
    return page_size(ports * PORT_COUNTERS);
}

void port_counters_read(struct port_counters *page, uint64_t *out,
                        unsigned ports)
{
    page_read(page_of(page), out, ports * PORT_COUNTERS);
}

void port_counters_begin(struct port_counters_writer *w,
                         struct port_counters *page, unsigned ports)
{
    size_t size = ((size_t)ports * PORT_COUNTERS + 1) * sizeof(uint64_t);

    *w = (struct port_counters_writer){
        .page = page,
        .ports = ports,
        .base = mem_zalloc(size),
        .sum = mem_zalloc(size),
    };
    port_counters_read(page, w->base, ports);
    for (unsigned i = 0; i < ports; i++) {
        uint64_t *b = w->base + (size_t)i * PORT_COUNTERS;

        b[PORT_PUSHES_CRASHED] += b[PORT_PUSHES_IN_FLIGHT];
        b[PORT_PUSHES_IN_FLIGHT] = 0;
        b[PORT_CONNS] = 0;
    }
    page_write(page_of(page), w->base, ports * PORT_COUNTERS);
}

void port_counters_end(struct port_counters_writer *w)
{
    mem_free(w->base);
    mem_free(w->sum);
    *w = (struct port_counters_writer){0};
}

void port_counters_publish(struct port_counters_writer *w, const uint64_t *v)
{
    unsigned n = w->ports * PORT_COUNTERS;

    for (unsigned i = 0; i < n; i++)
        w->sum[i] = w->base[i] + v[i];
    page_write(page_of(w->page), w->sum, n);
}
