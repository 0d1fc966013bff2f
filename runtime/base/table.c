/* table.c - see table.h.
 *
 * Linear hashing: with n buckets, 2^k <= n < 2^(k+1), a hash belongs to its
 * low k + 1 bits when there is such a bucket, else to its low k bits.  One
 * more bucket takes its nodes from exactly one old one, and one less gives
 * them back, so the table follows its count one bucket at a time.
 *
 * A bucket is the set of hashes that end in the same bits; read backwards, an
 * interval.  Scans go through these intervals upwards, which stays right while
 * buckets are split and joined. */
#include "base/table.h"

#include <stdbool.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    TABLE_MIN = 8,
    LINE = 64,      /* bytes that memory comes in */
    TABLE_JOINS = 8 /* buckets a removal may give back */
};

/* The largest power of two that is not above n. */
static uint32_t floor_power(uint32_t n)
{
    return UINT32_C(1) << (31 - __builtin_clz(n));
}

static uint32_t bucket_of(const struct table *t, uint32_t hash)
{
    uint32_t half = floor_power(t->buckets);
    uint32_t i = hash & (half * 2 - 1);

    return i < t->buckets ? i : hash & (half - 1);
}

static void push(struct table *t, struct table_node *node)
{
    struct table_node **head = &t->bucket[bucket_of(t, node->hash)];

    node->next = *head;
    *head = node;
}

static void resize(struct table *t, uint32_t room)
{
    t->bucket = mem_realloc(t->bucket, room * sizeof(struct table_node *));
    t->room = room;
}

/* Share out the nodes of one list again. */
static void spread(struct table *t, struct table_node *list)
{
    while (list != NULL) {
        struct table_node *next = list->next;

        push(t, list);
        list = next;
    }
}

static void grow(struct table *t)
{
    uint32_t from = t->buckets - floor_power(t->buckets);
    struct table_node *list = t->bucket[from];

    if (t->buckets == t->room)
        resize(t, t->room * 2);
    t->bucket[t->buckets++] = NULL;
    t->bucket[from] = NULL;
    spread(t, list);
}

static void shrink(struct table *t)
{
    struct table_node *list = t->bucket[t->buckets - 1];

    t->buckets--;
    spread(t, list);
    if (t->room > TABLE_MIN && t->buckets <= t->room / 4)
        resize(t, t->room / 2);
}

void table_fini(struct table *t)
{
    mem_free(t->bucket);
    *t = (struct table){0};
}

void table_add(struct table *t, struct table_node *node, uint32_t hash)
{
    uint32_t i;

    if (t->bucket == NULL) {
        resize(t, TABLE_MIN);
        t->buckets = TABLE_MIN;
        for (i = 0; i < TABLE_MIN; i++)
            t->bucket[i] = NULL;
    } else if (t->count >= t->buckets && t->buckets < UINT32_MAX / 2) {
        grow(t);
    }
    node->hash = hash;
    push(t, node);
    t->count++;
}

void table_del(struct table *t, struct table_node *node)
{
    struct table_node **at = &t->bucket[bucket_of(t, node->hash)];
    int n;

    while (*at != node) {
        sd_assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    t->count--;
    for (n = 0; n < TABLE_JOINS; n++) {
        if (t->buckets > TABLE_MIN && t->count < t->buckets / 4)
            shrink(t);
    }
}

static struct table_node *same(struct table_node *node, uint32_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct table_node *table_first(const struct table *t, uint32_t hash)
{
    if (t->count == 0)
        return NULL;
    return same(t->bucket[bucket_of(t, hash)], hash);
}

struct table_node *table_next(const struct table_node *node)
{
    return same(node->next, node->hash);
}

void table_expect(const struct table *t, uint32_t hash)
{
    if (t->count > 0)
        __builtin_prefetch(&t->bucket[bucket_of(t, hash)]);
}

void table_expect_node(const struct table *t, uint32_t hash, size_t bytes)
{
    const char *node;
    size_t i;

    if (t->count == 0)
        return;
    node = (const char *)t->bucket[bucket_of(t, hash)];
    for (i = 0; node != NULL && i < bytes; i += LINE)
        __builtin_prefetch(node + i);
}

static uint32_t backwards(uint32_t x)
{
    x = x >> 16 | x << 16;
    x = (x & 0xff00ff00) >> 8 | (x & 0x00ff00ff) << 8;
    x = (x & 0xf0f0f0f0) >> 4 | (x & 0x0f0f0f0f) << 4;
    x = (x & 0xcccccccc) >> 2 | (x & 0x33333333) << 2;
    return (x & 0xaaaaaaaa) >> 1 | (x & 0x55555555) << 1;
}

/* How many hashes, read backwards, lie in bucket i. */
static uint64_t width_of(const struct table *t, uint32_t i)
{
    uint32_t half = floor_power(t->buckets);
    bool is_split = i >= half || i + half < t->buckets;

    return (UINT64_C(1) << 32) / (is_split ? (uint64_t)half * 2 : half);
}

void table_scan(struct table *t, uint64_t *cursor,
                void (*fn)(void *arg, struct table_node *node), void *arg)
{
    uint32_t from = (uint32_t)*cursor, i;
    struct table_node *node, *next;

    if (t->count == 0) {
        *cursor = 0;
        return;
    }
    i = bucket_of(t, backwards(from));
    *cursor = backwards(i) + width_of(t, i);
    if (*cursor >> 32 != 0)
        *cursor = 0;
    for (node = t->bucket[i]; node != NULL; node = next) {
        next = node->next;
        if (backwards(node->hash) >= from)
            fn(arg, node);
    }
}
