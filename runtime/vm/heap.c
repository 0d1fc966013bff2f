/* heap.c - see heap.h.
 *
 * A request makes a handful of small tables and strings that live for
 * microseconds, and malloc was a sixth of its cost.  Here a small block is
 * one step of a free list of its size class; classes are cut from chunks. A
 * chunk knows nothing of its blocks, which makes taking and giving back cheap;
 * whether all of them are free is counted behind a collection, when much lies
 * idle.  One thread, no locks.  Blocks over SMALL_MAX are malloc's, held in a
 * list so that they too go with the heap. */
#include "vm/heap.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "vm/regions.h"

#define HEAP_MAGIC 0x68656170u
#define GRAIN      16
#define SMALL_MAX  512
#define CLASSES    (SMALL_MAX / GRAIN)
#define CHUNK      ((size_t)REGIONS_CHUNK)
#define TRIM       ((size_t)8 * 1024 * 1024) /* idle bytes worth the walk */
#define OWN_PAGES  (1024 * 1024) /* blocks so large go back at once */
#define RESERVE    ((size_t)16 * 1024)
#define SLACK      ((size_t)16 * 1024 * 1024) /* or a quarter of the limit */

struct block {
    struct block *next;
};

/* Aligned to its size, so that a block finds it. */
struct chunk {
    struct chunk *next;
    size_t cut;  /* bytes made blocks, when it is not the newest */
    size_t free; /* of these, in free lists: counted by trim() */
    struct region *region;
};

/* In front of a large block. */
struct large {
    struct list link;
};

struct heap {
    unsigned magic;
    size_t used;
    size_t limit; /* 0 when the next request shall fail */
    size_t kept;  /* the limit meanwhile */
    bool starved;
    unsigned lifted;
    size_t slack; /* beyond the limit, for on_full to act */
    heap_full_fn *on_full;
    void *arg;
    struct block *classes[CLASSES];
    char *bump, *end;     /* rest of the newest chunk */
    struct chunk *chunks; /* newest first */
    size_t nchunks;
    struct regions regions; /* where they are from */
    size_t large_bytes;
    size_t idle; /* what the last trim has left */
    struct list large;
};

struct heap *heap_new(size_t limit)
{
    struct heap *h = mem_zalloc(sizeof(*h));

    /* Left alone, malloc keeps large blocks after some were freed. */
    mallopt(M_MMAP_THRESHOLD, OWN_PAGES);
    mallopt(M_TRIM_THRESHOLD, 4 * OWN_PAGES);
    h->magic = HEAP_MAGIC;
    h->limit = limit;
    list_init(&h->large);
    regions_init(&h->regions);
    return h;
}

void heap_free(struct heap **hp)
{
    struct heap *h = *hp;

    sd_check(h, HEAP_MAGIC);
    regions_fini(&h->regions);
    while (!list_empty(&h->large)) {
        struct list *node = h->large.next;

        list_del(node);
        mem_free(list_entry(node, struct large, link));
    }
    h->magic = 0;
    mem_free(h);
    *hp = NULL;
}

static size_t class_of(size_t size)
{
    return (size - 1) / GRAIN;
}

static void *small_cut(struct heap *h, size_t bytes)
{
    void *p;

    if ((size_t)(h->end - h->bump) < bytes) {
        struct region *region;
        struct chunk *chunk = regions_take(&h->regions, &region);

        if (chunk == NULL)
            return NULL;
        chunk->region = region;
        if (h->chunks != NULL)
            h->chunks->cut = (size_t)(h->bump - (char *)(h->chunks + 1));
        h->nchunks++;
        chunk->next = h->chunks;
        h->chunks = chunk;
        h->bump = (char *)(chunk + 1);
        h->end = (char *)chunk + CHUNK;
    }
    p = h->bump;
    h->bump += bytes;
    return p;
}

static void *small_new(struct heap *h, size_t size)
{
    size_t class = class_of(size);
    struct block *b = h->classes[class];

    if (b == NULL)
        return small_cut(h, (class + 1) * GRAIN);
    h->classes[class] = b->next;
    return b;
}

static void *block_new(struct heap *h, size_t size)
{
    struct large *large;

    if (size <= SMALL_MAX)
        return small_new(h, size);
    if (size > SIZE_MAX - sizeof(*large))
        return NULL;
    large = malloc(sizeof(*large) + size);
    if (large == NULL)
        return NULL;
    list_add(&h->large, &large->link);
    h->large_bytes += size;
    return large + 1;
}

static void block_free(struct heap *h, void *p, size_t size)
{
    if (size <= SMALL_MAX) {
        struct block *b = p;

        b->next = h->classes[class_of(size)];
        h->classes[class_of(size)] = b;
    } else {
        struct large *large = (struct large *)p - 1;

        list_del(&large->link);
        h->large_bytes -= size;
        free(large);
    }
}

/* A large block that stays large moves inside malloc, mostly in place. */
static void *large_resize(struct heap *h, void *p, size_t old, size_t size)
{
    struct large *large = (struct large *)p - 1, *moved;

    list_del(&large->link);
    moved = realloc(large, sizeof(*large) + size);
    if (moved == NULL) {
        list_add(&h->large, &large->link);
        return NULL;
    }
    list_add(&h->large, &moved->link);
    h->large_bytes = h->large_bytes - old + size;
    return moved + 1;
}

static void *move(struct heap *h, void *p, size_t old, size_t size)
{
    void *q;

    if (old > SMALL_MAX && size > SMALL_MAX)
        return large_resize(h, p, old, size);
    if (old <= SMALL_MAX && size <= SMALL_MAX &&
        class_of(old) == class_of(size))
        return p;
    q = block_new(h, size);
    if (q == NULL)
        return NULL;
    memcpy(q, p, old < size ? old : size);
    block_free(h, p, old);
    return q;
}

/* Who has just been refused must be able to say so: an error to be caught,
 * logged and answered is made of the same memory.  The reserve is small, or an
 * error that grows on its way out would use it up. */
static bool has_reserve(const struct heap *h, size_t more)
{
    return h->lifted > 0 ||
           h->used + more <= h->limit + h->slack + (h->starved ? RESERVE : 0);
}

static bool has_room(struct heap *h, size_t more)
{
    if (!has_reserve(h, more))
        return false;
    if (h->on_full != NULL && h->lifted == 0 && h->used + more > h->limit) {
        h->starved = true;
        h->on_full(h->arg);
    }
    return true;
}

/* Is this the request that shall fail? */
static bool fails_now(struct heap *h, size_t old, size_t size)
{
    if (h->kept == 0 || size <= old)
        return false;
    h->limit = h->kept;
    h->kept = 0;
    return true;
}

/* Apart, so that heap_resize() has no registers to save. */
static __attribute__((noinline)) void *resize(struct heap *h, void *p,
                                              size_t old, size_t size)
{
    void *q = NULL;

    if (fails_now(h, p != NULL ? old : 0, size))
        return NULL;
    if (size == 0) {
        if (p != NULL)
            block_free(h, p, old);
    } else if (p == NULL) {
        old = 0;
        if (has_room(h, size))
            q = block_new(h, size);
    } else if (size <= old || has_room(h, size - old)) {
        q = move(h, p, old, size);
    }
    if (q != NULL || size == 0)
        h->used = h->used - old + size;
    else
        h->starved = true;
    return q;
}

/* Nearly every call frees a small block, or takes one that was freed. */
void *heap_resize(struct heap *h, void *p, size_t old, size_t size)
{
    struct block *b;

    if (size == 0 && p != NULL && old <= SMALL_MAX) {
        b = p;
        b->next = h->classes[class_of(old)];
        h->classes[class_of(old)] = b;
        h->used -= old;
        return NULL;
    }
    if (p == NULL && size - 1 < SMALL_MAX && h->used + size <= h->limit) {
        b = h->classes[class_of(size)];
        if (b != NULL) {
            h->classes[class_of(size)] = b->next;
            h->used += size;
            return b;
        }
    }
    return resize(h, p, old, size);
}

/* No request passes by resize() while the limit is 0. */
void heap_fail_next(struct heap *h)
{
    if (h->kept != 0)
        return;
    h->kept = h->limit;
    h->limit = 0;
}

void heap_soften(struct heap *h, heap_full_fn *on_full, void *arg)
{
    h->slack = on_full == NULL        ? 0
               : h->limit / 4 < SLACK ? h->limit / 4
                                      : SLACK;
    h->on_full = on_full;
    h->arg = arg;
}

bool heap_is_full(const struct heap *h)
{
    return h->used > h->limit;
}

static struct chunk *chunk_of(void *p)
{
    return (struct chunk *)(void *)((char *)p - (uintptr_t)p % CHUNK);
}

static bool is_whole(const struct heap *h, const struct chunk *chunk)
{
    return chunk != h->chunks && chunk->free == chunk->cut;
}

static void count_free(struct heap *h)
{
    struct chunk *chunk;
    struct block *b;

    for (chunk = h->chunks; chunk != NULL; chunk = chunk->next)
        chunk->free = 0;
    for (size_t class = 0; class < CLASSES; class ++)
        for (b = h->classes[class]; b != NULL; b = b->next)
            chunk_of(b)->free += (class + 1) * GRAIN;
}

/* Take the blocks of whole chunks out of the free lists. */
static void drop_blocks(struct heap *h)
{
    for (size_t class = 0; class < CLASSES; class ++) {
        struct block **at = &h->classes[class];

        while (*at != NULL) {
            if (is_whole(h, chunk_of(*at)))
                *at = (*at)->next;
            else
                at = &(*at)->next;
        }
    }
}

static void drop_chunks(struct heap *h)
{
    struct chunk **at = &h->chunks;

    while (*at != NULL) {
        struct chunk *chunk = *at;

        if (is_whole(h, chunk)) {
            *at = chunk->next;
            h->nchunks--;
            regions_give(&h->regions, chunk->region, chunk);
        } else {
            at = &chunk->next;
        }
    }
}

static size_t idle(const struct heap *h)
{
    size_t held = h->nchunks * CHUNK, in_use = h->used - h->large_bytes;

    return held > in_use ? held - in_use : 0;
}

/* Give the system what a hog has left: of each size of block the heap would
 * keep as much as was ever in use. */
static void trim(struct heap *h)
{
    if (idle(h) < h->idle)
        h->idle = idle(h);
    if (h->chunks == NULL || idle(h) < h->idle + TRIM)
        return;
    count_free(h);
    drop_blocks(h);
    drop_chunks(h);
    malloc_trim(0);
    h->idle = idle(h);
}

void heap_lift(struct heap *h, bool is_lifted)
{
    if (is_lifted) {
        h->lifted++;
        return;
    }
    sd_assert(h->lifted > 0);
    if (--h->lifted == 0)
        trim(h);
}

bool heap_was_starved(struct heap *h)
{
    bool starved = h->starved;

    h->starved = false;
    return starved;
}

size_t heap_used(const struct heap *h)
{
    return h->used;
}
