/* uidmap.c - see uidmap.h; here: the block, and reading a chain.
 *
 * The block is a head, the masks, and two tables per worker slot, one for even
 * and one for odd epochs.  A table is a hash table with chains through an array
 * of entries.  All of it is as large as it may ever become and lies in sparse
 * memory.  The masks have as many buckets as the node may have conns, so that
 * a probe is rarely in vain; a bit says that this slot has something there.
 *
 * A reader shares nothing with the writer but the order of stores.  A binding
 * appears with one store: the head of its bucket, when all of the entry is
 * written.  It goes with one store too: the link around it; only then its
 * serial becomes 0 and the entry may be used again, under a serial that never
 * was before (it holds the epoch).  So whoever finds the same serial before
 * and after reading has read one binding, and the link it took from there led
 * on.  Else it was overtaken, and begins the chain anew.  Serials fall along a
 * chain, which is how it knows what it has shown already.  A writer killed
 * anywhere in this leaves a whole chain: at worst an entry in none. */
#include "ipc/uidmap.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ipc/uidmap_table.h"

#define PAGE      4096u
#define LEAST     64u
#define MASKS_MAX (1u << 22)
#define DEBTS     1024u /* and one more for every fourth conn */

#define get(x)    atomic_load_explicit(x, memory_order_relaxed)
#define follow(x) atomic_load_explicit(x, memory_order_acquire)

static size_t pages(size_t n)
{
    return (n + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static uint32_t power_of_two(uint64_t n)
{
    uint32_t p = LEAST;

    while (p < n && p < MASKS_MAX)
        p *= 2;
    return p;
}

static struct uidmap_block shape_of(unsigned workers, uint32_t max_conns)
{
    uint32_t debts = DEBTS + max_conns / 4;

    sd_assert(workers > 0 && workers <= SLOTS_MAX);
    sd_assert(max_conns > 0 && max_conns <= UIDMAP_CONNS);
    return (struct uidmap_block){
        .magic = UIDMAP_MAGIC,
        .workers = workers,
        .conns = max_conns,
        .debts = debts,
        .max = max_conns + debts,
        .buckets = power_of_two(max_conns),
        .masks = power_of_two((uint64_t)max_conns * workers),
        .words = (workers + 63) / 64,
    };
}

static size_t masks_size(const struct uidmap_block *b)
{
    return pages((size_t)b->masks * b->words * sizeof(uint64_t));
}

static size_t heads_at(void)
{
    return sizeof(struct uidmap_table);
}

static size_t entries_at(const struct uidmap_block *b)
{
    return heads_at() + b->buckets * sizeof(uint32_t);
}

static size_t rests_at(const struct uidmap_block *b)
{
    return entries_at(b) + ((size_t)b->max + 1) * sizeof(struct uidmap_entry);
}

static size_t table_size(const struct uidmap_block *b)
{
    return pages(rests_at(b) +
                 ((size_t)b->max + 1) * sizeof(struct uidmap_rest));
}

size_t uidmap_size(unsigned workers, uint32_t max_conns)
{
    struct uidmap_block b = shape_of(workers, max_conns);

    return PAGE + masks_size(&b) + (size_t)2 * workers * table_size(&b);
}

void uidmap_init(void *mem, unsigned workers, uint32_t max_conns)
{
    struct uidmap_block *b = mem;

    sd_assert((uintptr_t)mem % alignof(struct uidmap_table) == 0);
    *b = shape_of(workers, max_conns);
    b->key = hash_key_random();
}

struct uidmap *uidmap_attach(void *mem, const struct slots *slots,
                             unsigned self, uint16_t epoch)
{
    struct uidmap *m = mem_zalloc(sizeof(*m));
    struct uidmap_block *b = mem;

    sd_check(b, UIDMAP_MAGIC);
    m->magic = UIDMAP_MAGIC;
    m->self = self;
    m->epoch = epoch;
    m->block = b;
    m->slots = slots;
    m->masks = (_Atomic uint64_t *)(void *)((char *)mem + PAGE);
    m->tables = (char *)mem + PAGE + masks_size(b);
    m->table_size = table_size(b);
    m->entries_at = entries_at(b);
    m->rests_at = rests_at(b);
    return m;
}

void uidmap_close(struct uidmap **mp)
{
    if (*mp == NULL)
        return;
    sd_check(*mp, UIDMAP_MAGIC);
    (*mp)->magic = 0;
    mem_free((*mp)->by_conn);
    mem_free(*mp);
    *mp = NULL;
}

void uidmap_key(const struct uidmap *m, struct uidmap_key *key,
                struct slice uid)
{
    key->hash = (uint32_t)hash_bytes(&m->block->key, uid);
    key->len = (uint8_t)uid.len;
    key->word[(uid.len - 1) / 8] = 0;
    memcpy(key->word, uid.p, uid.len);
}

struct uidmap_view uidmap_view(const struct uidmap *m, unsigned slot,
                               unsigned epoch)
{
    char *p = m->tables + (2 * (size_t)slot + epoch % 2) * m->table_size;

    sd_assert(slot < m->block->workers);
    return (struct uidmap_view){
        .table = (struct uidmap_table *)(void *)p,
        .heads = (_Atomic uint32_t *)(void *)(p + heads_at()),
        .entries = (struct uidmap_entry *)(void *)(p + m->entries_at),
        .rests = (struct uidmap_rest *)(void *)(p + m->rests_at),
        .epoch = (uint16_t)epoch,
    };
}

static bool is_void(const struct uidmap_view *v)
{
    return follow(&v->table->epoch) != v->epoch;
}

bool uidmap_live(const struct uidmap *m, unsigned slot, struct uidmap_view *v)
{
    uint16_t epoch = slots_epoch(m->slots, slot);

    *v = uidmap_view(m, slot, epoch);
    return !is_void(v) && slots_is_alive(m->slots, slot, epoch);
}

/* --- reading -------------------------------------------------------------- */

static unsigned words_of(unsigned len)
{
    return (len + 7) / 8;
}

static uint64_t word_of(const struct uidmap_view *v, uint32_t i, unsigned w)
{
    return w < NEAR_WORDS ? get(&v->entries[i].word[w])
                          : get(&v->rests[i].word[w - NEAR_WORDS]);
}

static bool has_key(const struct uidmap_view *v, uint32_t i,
                    const struct uidmap_key *key)
{
    unsigned w;

    for (w = 0; w < words_of(key->len); w++)
        if (word_of(v, i, w) != key->word[w])
            return false;
    return true;
}

/* The length may be of another binding yet: that shows afterwards. */
static void copy_words(const struct uidmap_view *v, uint32_t i,
                       struct uidmap_key *key)
{
    unsigned w;

    for (w = 0; w < words_of(key->len) && w < KEY_WORDS; w++)
        key->word[w] = word_of(v, i, w);
}

bool uidmap_copy(const struct uidmap_view *v, uint32_t i,
                 const struct uidmap_key *key, struct uidmap_copy *c)
{
    const struct uidmap_entry *e = &v->entries[i];

    c->serial = atomic_load_explicit(&e->serial, memory_order_acquire);
    if (epoch_of(c->serial) != v->epoch)
        return false;
    c->index = i;
    c->key.hash = get(&e->hash);
    c->key.len = get(&e->len);
    c->conn = get(&e->conn);
    c->number = get(&e->number);
    c->twin = get(&e->twin) != 0;
    c->twin_next = c->twin ? follow(&v->rests[i].twin_next) : 0;
    c->next = follow(&e->next);
    if (key == NULL)
        copy_words(v, i, &c->key);
    c->match = key == NULL || (c->key.hash == key->hash &&
                               c->key.len == key->len && has_key(v, i, key));
    atomic_thread_fence(memory_order_acquire);
    return get(&e->serial) == c->serial;
}

/* Far more than an honest chain has: in a table that some bug has bent to a
 * ring, readers must not turn for ever. */
static uint32_t most_steps(const struct uidmap *m)
{
    return 4 * m->block->max + 4096;
}

void uidmap_walk(struct uidmap_walk *w, const struct uidmap *m,
                 const struct uidmap_view *v, uint32_t hash,
                 const struct uidmap_key *key)
{
    uint32_t mask = m->block->buckets - 1;

    *w = (struct uidmap_walk){
        .v = *v,
        .head = &v->heads[hash & mask],
        .key = key,
        .below = UINT64_MAX,
        .bucket = hash & mask,
        .mask = mask,
        .steps = most_steps(m),
    };
    w->at = follow(w->head);
}

void uidmap_walk_twins(struct uidmap_walk *w, const struct uidmap *m,
                       const struct uidmap_view *v)
{
    *w = (struct uidmap_walk){
        .v = *v,
        .head = &v->table->twins,
        .below = UINT64_MAX,
        .steps = most_steps(m),
        .twins = true,
    };
    w->at = follow(w->head);
}

/* Is what was copied of the chain that is walked, not of another it has come
 * to since? */
static bool is_of_chain(const struct uidmap_walk *w,
                        const struct uidmap_copy *c)
{
    return w->twins ? c->twin : (c->key.hash & w->mask) == w->bucket;
}

bool uidmap_step(struct uidmap_walk *w, struct uidmap_copy *c)
{
    while (w->at != 0 && w->steps > 0) {
        w->steps--;
        if (!uidmap_copy(&w->v, w->at, w->key, c) || !is_of_chain(w, c)) {
            w->at = is_void(&w->v) ? 0 : follow(w->head);
            continue;
        }
        w->at = w->twins ? c->twin_next : c->next;
        if (c->match && c->serial < w->below) {
            w->below = c->serial;
            return true;
        }
    }
    return false;
}
