/* tally.c - see tally.h.
 *
 * Numbers are plain counters.  Keys have a hash table with linear probing in
 * each part: a key and its count.  A key comes with one store, so a reader
 * sees it with its count or not at all.  One that goes leaves no gap: later
 * entries of its run move up, and while they do the part's version is odd, so
 * that a reader who may have missed one looks again.  Its writer may be killed
 * in that; then the epoch makes the part void before anybody looks long. */
#include "ipc/tally.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ipc/slots.h"

#define TALLY_MAGIC 0x7a11e001u

enum {
    LEAST = 64,  /* entries of a part */
    LOOKS = 1000 /* at a part whose writer is busy or dead */
};

#define get(x)    atomic_load_explicit(x, memory_order_relaxed)
#define set(x, v) atomic_store_explicit(x, v, memory_order_relaxed)

struct tally_block {
    unsigned magic;
    unsigned workers, numbers;
    uint32_t entries; /* of a part, a power of two */
    struct hash_key key;
};

struct tally_entry {
    _Atomic uint64_t key; /* 0: free */
    _Atomic uint32_t count;
};

/* Counters by number and entries follow. */
struct tally_part {
    alignas(TALLY_ALIGN) _Atomic uint32_t epoch; /* 0: void */
    _Atomic uint32_t version;                    /* odd: entries move */
    uint32_t keys;                               /* writer's: in use */
    alignas(TALLY_ALIGN) _Atomic uint32_t number[];
};

struct tally {
    unsigned magic;
    unsigned self;
    struct tally_block *block;
    const struct slots *slots;
};

static size_t line(size_t n)
{
    return (n + TALLY_ALIGN - 1) / TALLY_ALIGN * TALLY_ALIGN;
}

static struct tally_block block_of(const struct tally_shape *shape)
{
    struct tally_block b = {.magic = TALLY_MAGIC,
                            .workers = shape->workers,
                            .numbers = shape->numbers,
                            .entries = LEAST};

    /* At least half of them stay free. */
    while (b.entries / 2 < shape->keys)
        b.entries *= 2;
    return b;
}

static size_t entries_at(const struct tally_block *b)
{
    return line(sizeof(struct tally_part) + b->numbers * sizeof(uint32_t));
}

static size_t part_size(const struct tally_block *b)
{
    return line(entries_at(b) + b->entries * sizeof(struct tally_entry));
}

static struct tally_part *part_of(const struct tally *t, unsigned slot)
{
    char *first = (char *)t->block + line(sizeof(*t->block));

    return (struct tally_part *)(void *)(first + slot * part_size(t->block));
}

static struct tally_entry *entries_of(const struct tally *t,
                                      struct tally_part *p)
{
    char *at = (char *)p + entries_at(t->block);

    return (struct tally_entry *)(void *)at;
}

size_t tally_size(const struct tally_shape *shape)
{
    struct tally_block b = block_of(shape);

    return line(sizeof(b)) + shape->workers * part_size(&b);
}

void tally_init(void *mem, const struct tally_shape *shape)
{
    struct tally_block *b = mem;

    sd_assert((uintptr_t)mem % TALLY_ALIGN == 0);
    *b = block_of(shape);
    b->key = hash_key_random();
}

/* What a process of this slot has left is no longer valid: its epoch is over.
 * The count of keys goes last: who is killed here leaves the work to the next
 * one. */
static void format(struct tally *t, uint16_t epoch)
{
    struct tally_part *p = part_of(t, t->self);
    struct tally_entry *entries = entries_of(t, p);
    uint32_t i;

    atomic_store(&p->epoch, 0);
    for (i = 0; i < t->block->numbers; i++)
        set(&p->number[i], 0);
    for (i = 0; i < t->block->entries && p->keys > 0; i++) {
        if (get(&entries[i].key) != 0)
            set(&entries[i].key, 0);
    }
    p->keys = 0;
    set(&p->version, 0);
    atomic_store(&p->epoch, epoch);
}

struct tally *tally_open(void *mem, const struct slots *slots, unsigned self,
                         uint16_t epoch)
{
    struct tally *t = mem_zalloc(sizeof(*t));

    t->magic = TALLY_MAGIC;
    t->self = self;
    t->block = mem;
    t->slots = slots;
    sd_check(t->block, TALLY_MAGIC);
    sd_assert(self < t->block->workers && epoch != 0);
    format(t, epoch);
    return t;
}

void tally_close(struct tally **tp)
{
    if (*tp == NULL)
        return;
    sd_check(*tp, TALLY_MAGIC);
    (*tp)->magic = 0;
    mem_free(*tp);
    *tp = NULL;
}

uint64_t tally_key(const struct tally *t, struct slice name)
{
    uint64_t key = hash_bytes(&t->block->key, name);

    return key != 0 ? key : 1;
}

/* --- reading -------------------------------------------------------------- */

/* Does a living worker count there? */
static bool is_valid(const struct tally *t, const struct tally_part *p,
                     unsigned slot)
{
    uint32_t epoch = atomic_load_explicit(&p->epoch, memory_order_acquire);

    return epoch != 0 && (slot == t->self || t->slots == NULL ||
                          slots_epoch(t->slots, slot) == epoch);
}

uint32_t tally_sum(const struct tally *t, unsigned number)
{
    uint32_t sum = 0;
    unsigned i;

    sd_check(t, TALLY_MAGIC);
    sd_assert(number < t->block->numbers);
    for (i = 0; i < t->block->workers; i++) {
        struct tally_part *p = part_of(t, i);

        if (is_valid(t, p, i))
            sum += atomic_load(&p->number[number]);
    }
    return sum;
}

static uint32_t home_of(const struct tally *t, uint64_t key)
{
    return (uint32_t)key & (t->block->entries - 1);
}

static uint32_t after(const struct tally *t, uint32_t i)
{
    return (i + 1) & (t->block->entries - 1);
}

/* Where the key is, or the free entry where its run ends. */
static struct tally_entry *seek(const struct tally *t, struct tally_part *p,
                                uint64_t key)
{
    struct tally_entry *entries = entries_of(t, p);
    uint32_t i = home_of(t, key), n;

    for (n = 0; n < t->block->entries; n++, i = after(t, i)) {
        uint64_t k =
            atomic_load_explicit(&entries[i].key, memory_order_acquire);

        if (k == key || k == 0)
            return &entries[i];
    }
    return NULL;
}

static uint32_t count_in(const struct tally *t, struct tally_part *p,
                         uint64_t key)
{
    uint32_t before, n = 0, looks = 0;
    struct tally_entry *e;

    do {
        before = atomic_load_explicit(&p->version, memory_order_acquire);
        e = seek(t, p, key);
        n = e != NULL && atomic_load(&e->key) == key ? atomic_load(&e->count)
                                                     : 0;
        atomic_thread_fence(memory_order_acquire);
    } while ((before % 2 != 0 || get(&p->version) != before) &&
             ++looks < LOOKS);
    return n;
}

uint32_t tally_sum_key(const struct tally *t, uint64_t key)
{
    uint32_t sum = 0;
    unsigned i;

    sd_check(t, TALLY_MAGIC);
    sd_assert(key != 0);
    for (i = 0; i < t->block->workers; i++) {
        struct tally_part *p = part_of(t, i);

        if (is_valid(t, p, i))
            sum += count_in(t, p, key);
    }
    return sum;
}

/* --- counting ------------------------------------------------------------- */

static _Atomic uint32_t *own_number(const struct tally *t, unsigned number)
{
    sd_check(t, TALLY_MAGIC);
    sd_assert(number < t->block->numbers);
    return &part_of(t, t->self)->number[number];
}

uint32_t tally_own(const struct tally *t, unsigned number)
{
    return get(own_number(t, number));
}

bool tally_take(struct tally *t, unsigned number, uint32_t max)
{
    _Atomic uint32_t *own = own_number(t, number);

    atomic_store(own, get(own) + 1); /* in the one order that all see */
    if (max == 0 || tally_sum(t, number) <= max)
        return true;
    tally_give(t, number);
    return false;
}

void tally_give(struct tally *t, unsigned number)
{
    _Atomic uint32_t *own = own_number(t, number);

    sd_assert(get(own) > 0);
    atomic_store(own, get(own) - 1);
}

/* The entries behind `i` that would not be found across a gap move up. */
static void close_gap(struct tally *t, struct tally_part *p, uint32_t i)
{
    struct tally_entry *entries = entries_of(t, p);
    uint32_t mask = t->block->entries - 1, j = i;

    for (;;) {
        uint64_t key;

        j = after(t, j);
        key = get(&entries[j].key);
        if (key == 0)
            break;
        if (((j - home_of(t, key)) & mask) < ((j - i) & mask))
            continue; /* its run begins behind the gap */
        set(&entries[i].count, get(&entries[j].count));
        set(&entries[i].key, key);
        i = j;
    }
    set(&entries[i].key, 0);
}

static void forget(struct tally *t, struct tally_part *p, struct tally_entry *e)
{
    uint32_t version = get(&p->version);

    set(&p->version, version + 1);
    atomic_thread_fence(memory_order_release);
    close_gap(t, p, (uint32_t)(e - entries_of(t, p)));
    atomic_store_explicit(&p->version, version + 2, memory_order_release);
    p->keys--;
}

bool tally_take_key(struct tally *t, uint64_t key, uint32_t max)
{
    struct tally_part *p;
    struct tally_entry *e;

    sd_check(t, TALLY_MAGIC);
    sd_assert(key != 0);
    p = part_of(t, t->self);
    e = seek(t, p, key);
    if (e == NULL)
        return false;
    if (get(&e->key) == key) {
        atomic_store(&e->count, get(&e->count) + 1);
    } else {
        if (p->keys >= t->block->entries / 2)
            return false;
        p->keys++;
        set(&e->count, 1);
        atomic_store(&e->key, key);
    }
    if (max == 0 || tally_sum_key(t, key) <= max)
        return true;
    tally_give_key(t, key);
    return false;
}

void tally_give_key(struct tally *t, uint64_t key)
{
    struct tally_part *p = part_of(t, t->self);
    struct tally_entry *e = seek(t, p, key);

    sd_check(t, TALLY_MAGIC);
    sd_assert(e != NULL && get(&e->key) == key && get(&e->count) > 0);
    if (get(&e->count) > 1)
        atomic_store(&e->count, get(&e->count) - 1);
    else
        forget(t, p, e);
}
