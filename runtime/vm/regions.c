/* regions.c - see regions.h.  A bit says that a chunk is free; a region whose
 * chunks are all free goes. */
#include "vm/regions.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    COUNT = 16,
    ALL_FREE = (1 << COUNT) - 1
};

struct region {
    struct list all, open;
    char *base;
    unsigned free; /* a bit each */
};

void regions_init(struct regions *r)
{
    list_init(&r->all);
    list_init(&r->open);
}

static void drop(struct region *g)
{
    list_del(&g->all);
    list_del(&g->open);
    free(g->base);
    mem_free(g);
}

void regions_fini(struct regions *r)
{
    while (!list_empty(&r->all))
        drop(list_entry(r->all.next, struct region, all));
}

static struct region *add(struct regions *r)
{
    char *base = aligned_alloc(REGIONS_CHUNK, (size_t)COUNT * REGIONS_CHUNK);
    struct region *g;

    if (base == NULL)
        return NULL;
    g = mem_zalloc(sizeof(*g));
    g->base = base;
    g->free = ALL_FREE;
    list_add(&r->all, &g->all);
    list_add(&r->open, &g->open);
    return g;
}

void *regions_take(struct regions *r, struct region **of)
{
    struct region *g = list_empty(&r->open)
                           ? add(r)
                           : list_entry(r->open.next, struct region, open);
    unsigned i;

    if (g == NULL)
        return NULL;
    i = (unsigned)__builtin_ctz(g->free);
    g->free &= ~(1u << i);
    if (g->free == 0)
        list_del(&g->open);
    *of = g;
    return g->base + (size_t)i * REGIONS_CHUNK;
}

void regions_give(struct regions *r, struct region *of, void *chunk)
{
    size_t i = (size_t)((char *)chunk - of->base) / REGIONS_CHUNK;

    sd_assert(i < COUNT && (of->free & 1u << i) == 0);
    madvise(chunk, REGIONS_CHUNK, MADV_DONTNEED);
    if (of->free == 0)
        list_add(&r->open, &of->open);
    of->free |= 1u << i;
    if (of->free == ALL_FREE)
        drop(of);
}
