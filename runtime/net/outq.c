/* outq.c - see outq.h.
 *
 * A ring of pushes by serial number.  Pushes leave in front only, so a serial
 * tells whether its push still waits.  Those with a key hang in chains, one
 * for each value of some bits of the key, from newer to older; a chain ends
 * where it comes to a serial that has left, so leaving has nothing to undo. */
#include "net/outq.h"

#include <stdbool.h>

#include "base/assert.h"
#include "base/mem.h"

#define OUTQ_MAGIC 0x0a7c0e01u

enum {
    FIRST_CAP = 4,
    POOL_MAX = 1024
};

struct outq {
    unsigned magic;
    uint32_t head; /* serial of the oldest */
    uint32_t count;
    uint32_t cap; /* a power of two */
    size_t bytes;
    struct outq_push *ring; /* `first`, or allocated */
    uint32_t *chain;   /* newest serial of each; NULL: no key was ever seen */
    struct outq *next; /* in the pool */
    struct outq_push first[FIRST_CAP];
};

static struct outq *from_pool(struct outq_pool *pool)
{
    struct outq *q = pool->first;

    if (q == NULL)
        return mem_alloc(sizeof(*q));
    pool->first = q->next;
    pool->n--;
    return q;
}

struct outq *outq_new(struct outq_pool *pool)
{
    struct outq *q = from_pool(pool);

    q->magic = OUTQ_MAGIC;
    q->head = q->count = 0;
    q->cap = FIRST_CAP;
    q->bytes = 0;
    q->ring = q->first;
    q->chain = NULL;
    return q;
}

static void free_ring(struct outq *q)
{
    if (q->ring != q->first)
        mem_free(q->ring);
}

void outq_free(struct outq_pool *pool, struct outq **qp)
{
    struct outq *q = *qp;

    if (q == NULL)
        return;
    sd_check(q, OUTQ_MAGIC);
    while (q->count > 0)
        shared_unref(outq_take(q));
    mem_free(q->chain);
    free_ring(q);
    q->magic = 0;
    *qp = NULL;
    if (pool->n == POOL_MAX) {
        mem_free(q);
        return;
    }
    q->next = pool->first;
    pool->first = q;
    pool->n++;
}

void outq_pool_fini(struct outq_pool *pool)
{
    while (pool->n > 0)
        mem_free(from_pool(pool));
}

uint32_t outq_count(const struct outq *q)
{
    return q->count;
}

size_t outq_bytes(const struct outq *q)
{
    return q->bytes;
}

size_t outq_weight(const struct outq *q)
{
    return q->bytes + (size_t)q->count * OUTQ_COST;
}

size_t outq_memory(const struct outq *q)
{
    size_t chains = q->chain != NULL ? q->cap * sizeof(*q->chain) : 0;

    size_t ring = q->ring != q->first ? q->cap * sizeof(*q->ring) : 0;

    return sizeof(*q) + ring + chains;
}

static struct outq_push *slot(const struct outq *q, uint32_t serial)
{
    return &q->ring[serial & (q->cap - 1)];
}

static bool is_waiting(const struct outq *q, uint32_t serial)
{
    return serial - q->head < q->count;
}

static uint32_t *chain_of(const struct outq *q, uint64_t key)
{
    return &q->chain[key & (q->cap - 1)];
}

static void link_push(struct outq *q, uint32_t serial)
{
    struct outq_push *push = slot(q, serial);
    uint32_t *chain = chain_of(q, push->key);

    push->older = *chain;
    *chain = serial;
}

/* Chains for all that wait.  An empty one begins at a serial that is not yet
 * in use, nor will be before it is linked anew. */
static void make_chains(struct outq *q)
{
    uint32_t i;

    mem_free(q->chain);
    q->chain = mem_alloc(q->cap * sizeof(*q->chain));
    for (i = 0; i < q->cap; i++)
        q->chain[i] = q->head - 1;
    for (i = 0; i < q->count; i++) {
        if (slot(q, q->head + i)->key != 0)
            link_push(q, q->head + i);
    }
}

static void grow(struct outq *q)
{
    struct outq_push *ring = mem_alloc(2 * (size_t)q->cap * sizeof(*q->ring));
    uint32_t i, mask = 2 * q->cap - 1;

    for (i = 0; i < q->count; i++)
        ring[(q->head + i) & mask] = *slot(q, q->head + i);
    free_ring(q);
    q->ring = ring;
    q->cap *= 2;
    if (q->chain != NULL)
        make_chains(q);
}

void outq_add(struct outq *q, struct shared *frame, uint64_t at, uint64_t key)
{
    uint32_t serial = q->head + q->count;

    sd_check(q, OUTQ_MAGIC);
    if (q->count == q->cap)
        grow(q);
    *slot(q, serial) =
        (struct outq_push){.frame = shared_ref(frame), .at = at, .key = key};
    q->bytes += shared_frame(frame).len;
    if (key != 0 && q->chain == NULL)
        make_chains(q);
    if (key != 0)
        link_push(q, serial);
    q->count++;
}

static struct outq_push *find(const struct outq *q, uint64_t key)
{
    uint32_t serial;

    sd_check(q, OUTQ_MAGIC);
    sd_assert(key != 0);
    if (q->chain == NULL)
        return NULL;
    for (serial = *chain_of(q, key); is_waiting(q, serial);
         serial = slot(q, serial)->older) {
        if (slot(q, serial)->key == key)
            return slot(q, serial);
    }
    return NULL;
}

struct shared *outq_find(const struct outq *q, uint64_t key)
{
    const struct outq_push *push = find(q, key);

    return push != NULL ? push->frame : NULL;
}

struct shared *outq_replace(struct outq *q, struct shared *frame, uint64_t key)
{
    struct outq_push *push = find(q, key);
    struct shared *old;

    if (push == NULL)
        return NULL;
    old = push->frame;
    q->bytes -= shared_frame(old).len;
    q->bytes += shared_frame(frame).len;
    push->frame = shared_ref(frame);
    return old;
}

const struct outq_push *outq_at(const struct outq *q, uint32_t i)
{
    sd_assert(i < q->count);
    return slot(q, q->head + i);
}

struct shared *outq_take(struct outq *q)
{
    struct shared *frame;

    sd_check(q, OUTQ_MAGIC);
    sd_assert(q->count > 0);
    frame = slot(q, q->head)->frame;
    q->bytes -= shared_frame(frame).len;
    q->head++;
    q->count--;
    return frame;
}
