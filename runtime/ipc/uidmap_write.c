/* uidmap_write.c - see uidmap.h; here: the one process that writes a table.
 *
 * The order of the stores is what uidmap.c says readers rely on; besides,
 * `used` counts an entry and the entry knows its hash before anything leads to
 * it, so a later process finds every head and every bit of the masks that was
 * ever set by walking the used entries.
 *
 * The last one.  Who unlinks a binding and finds no other may be one of two
 * that do so at the same time.  Both clear their bit of the mask, and that
 * word has one order: the first to clear sees a bit of the other that nothing
 * is left behind, and leaves it to the other to be the last.  A slot that
 * keeps its bit, for another uid under the same mask, takes no part in that
 * order: then both are the last.  There are as many masks as conns may be on
 * the node, so that is rare.
 *
 * What only the writer needs it keeps to itself: the entry of a conn by the
 * index in the conn's id (so a close costs the same with one conn of a uid or
 * with thousands), the links backwards, the free entries. */
#include "ipc/uidmap.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "ipc/uidmap_table.h"

enum {
    CONNS_LEAST = 64
};

#define get(x)     atomic_load_explicit(x, memory_order_relaxed)
#define set(x, v)  atomic_store_explicit(x, v, memory_order_relaxed)
#define show(x, v) atomic_store_explicit(x, v, memory_order_release)

/* What else is in the bucket of an entry. */
struct others {
    bool uid;  /* a binding of the same uid */
    bool mask; /* one under the same mask */
};

static struct uidmap_entry *entry_of(struct uidmap *m, uint32_t i)
{
    return &m->own.entries[i];
}

static struct uidmap_rest *rest_of(struct uidmap *m, uint32_t i)
{
    return &m->own.rests[i];
}

static _Atomic uint32_t *head_of(struct uidmap *m, uint32_t hash)
{
    return &m->own.heads[hash & (m->block->buckets - 1)];
}

/* The 20 bits of index in a conn id. */
static uint32_t index_of(uint64_t conn)
{
    return conn >> 20 & (UIDMAP_CONNS - 1);
}

/* The entry of a conn, 0: it has none. */
static uint32_t held_by(const struct uidmap *m, uint64_t conn)
{
    uint32_t index = index_of(conn);

    return index < m->conns ? m->by_conn[index] : 0;
}

static void hold(struct uidmap *m, uint64_t conn, uint32_t i)
{
    uint32_t index = index_of(conn), had = m->conns;

    if (index >= had) {
        m->conns = had > 0 ? had : CONNS_LEAST;
        while (m->conns <= index)
            m->conns *= 2;
        m->by_conn = mem_realloc(m->by_conn, m->conns * sizeof(*m->by_conn));
        memset(m->by_conn + had, 0, (m->conns - had) * sizeof(*m->by_conn));
    }
    m->by_conn[index] = i;
}

static void count(_Atomic uint32_t *n, int by)
{
    set(n, get(n) + (uint32_t)by);
}

/* --- the mask ------------------------------------------------------------- */

static void raise_bit(struct uidmap *m, uint32_t hash)
{
    _Atomic uint64_t *word = mask_word(m, mask_of(m, hash), m->self);
    uint64_t bit = UINT64_C(1) << (m->self % 64);

    if ((get(word) & bit) == 0)
        atomic_fetch_or(word, bit);
}

/* The other bits of the word as they were then. */
static uint64_t drop_bit(struct uidmap *m, uint32_t hash)
{
    _Atomic uint64_t *word = mask_word(m, mask_of(m, hash), m->self);
    uint64_t bit = UINT64_C(1) << (m->self % 64);

    if ((get(word) & bit) == 0)
        return 0;
    return atomic_fetch_and(word, ~bit) & ~bit;
}

/* --- owning --------------------------------------------------------------- */

/* Drop all bits that processes of this slot have left. */
static void drop_bits(struct uidmap *m, unsigned epoch)
{
    struct uidmap_view v = uidmap_view(m, m->self, epoch);
    uint32_t used = get(&v.table->used), i;

    sd_assert(used <= m->block->max);
    for (i = 1; i <= used; i++)
        (void)drop_bit(m, get(&v.entries[i].hash));
}

/* Empty our table.  While that goes on it belongs to no epoch; `used` goes
 * last, so that who is killed in it leaves the work to the next. */
static void format(struct uidmap *m)
{
    struct uidmap_table *t = m->own.table;
    uint32_t used = get(&t->used), i;

    atomic_store(&t->epoch, 0);
    for (i = 1; i <= used; i++) {
        set(head_of(m, get(&entry_of(m, i)->hash)), 0);
        set(&entry_of(m, i)->serial, 0);
    }
    set(&t->twins, 0);
    set(&t->ntwins, 0);
    set(&t->bindings, 0);
    set(&t->uids, 0);
    set(&t->binds, 0);
    show(&t->used, 0);
    atomic_store(&t->claim, uidmap_unclaimed(m->epoch));
    atomic_store(&t->epoch, m->epoch);
}

bool uidmap_own(struct uidmap *m, struct uidmap_dead *dead)
{
    struct uidmap_view v = uidmap_view(m, m->self, m->epoch);
    struct uidmap_dead old;

    sd_check(m, UIDMAP_MAGIC);
    sd_assert(m->own.table == NULL);
    old = (struct uidmap_dead){
        .slot = m->self,
        .epoch = (uint16_t)get(&v.table->epoch),
    };
    if (old.epoch != 0 && uidmap_take_over(m, &old)) {
        *dead = old;
        return false;
    }
    m->own = v;
    drop_bits(m, 0);
    drop_bits(m, 1);
    format(m);
    return true;
}

uint64_t uidmap_number(struct uidmap *m, uint64_t wall_ms)
{
    sd_check(m, UIDMAP_MAGIC);
    m->number = wall_ms > m->number ? wall_ms : m->number + 1;
    return m->number;
}

/* --- chains --------------------------------------------------------------- */

static void link_entry(struct uidmap *m, uint32_t i)
{
    _Atomic uint32_t *head = head_of(m, get(&entry_of(m, i)->hash));
    uint32_t next = get(&entry_of(m, i)->next);

    if (next != 0)
        entry_of(m, next)->prev = i;
    show(head, i);
}

static void unlink_entry(struct uidmap *m, uint32_t i)
{
    struct uidmap_entry *e = entry_of(m, i);
    uint32_t next = get(&e->next);

    if (e->prev != 0)
        show(&entry_of(m, e->prev)->next, next);
    else
        show(head_of(m, get(&e->hash)), next);
    if (next != 0)
        entry_of(m, next)->prev = e->prev;
}

static void link_twin(struct uidmap *m, uint32_t i)
{
    struct uidmap_table *t = m->own.table;
    uint32_t next = get(&t->twins);

    set(&rest_of(m, i)->twin_next, next);
    rest_of(m, i)->twin_prev = 0;
    if (next != 0)
        rest_of(m, next)->twin_prev = i;
    show(&entry_of(m, i)->twin, 1);
    show(&t->twins, i);
    count(&t->ntwins, 1);
}

static void unlink_twin(struct uidmap *m, uint32_t i)
{
    struct uidmap_rest *r = rest_of(m, i);
    uint32_t next = get(&r->twin_next);

    if (r->twin_prev != 0)
        show(&rest_of(m, r->twin_prev)->twin_next, next);
    else
        show(&m->own.table->twins, next);
    if (next != 0)
        rest_of(m, next)->twin_prev = r->twin_prev;
    count(&m->own.table->ntwins, -1);
}

/* --- entries -------------------------------------------------------------- */

static uint64_t word_of(struct uidmap *m, uint32_t i, unsigned w)
{
    return w < NEAR_WORDS ? get(&entry_of(m, i)->word[w])
                          : get(&rest_of(m, i)->word[w - NEAR_WORDS]);
}

static bool has_key(struct uidmap *m, uint32_t i, const struct uidmap_key *key)
{
    const struct uidmap_entry *e = entry_of(m, i);
    unsigned w;

    if (get(&e->hash) != key->hash || get(&e->len) != key->len)
        return false;
    for (w = 0; w < (key->len + 7u) / 8; w++)
        if (word_of(m, i, w) != key->word[w])
            return false;
    return true;
}

static struct others others_of(struct uidmap *m, const struct uidmap_key *key)
{
    struct others o = {false, false};
    uint32_t i = get(head_of(m, key->hash));

    for (; i != 0 && !o.uid; i = get(&entry_of(m, i)->next)) {
        if (mask_of(m, get(&entry_of(m, i)->hash)) != mask_of(m, key->hash))
            continue;
        o.mask = true;
        o.uid = has_key(m, i, key);
    }
    return o;
}

/* A free entry: with what may be bound and what may be kept none is left. */
static uint32_t take_entry(struct uidmap *m)
{
    struct uidmap_table *t = m->own.table;
    uint32_t i = m->free;

    if (i != 0) {
        m->free = entry_of(m, i)->prev;
        return i;
    }
    i = get(&t->used);
    sd_assert(i < m->block->max);
    return i + 1;
}

/* Write all of an entry that nothing leads to yet. */
static void fill(struct uidmap *m, uint32_t i, const struct uidmap_key *key,
                 uint64_t conn, uint64_t number)
{
    struct uidmap_table *t = m->own.table;
    struct uidmap_entry *e = entry_of(m, i);
    unsigned w;

    atomic_thread_fence(memory_order_release);
    set(&e->hash, key->hash);
    set(&e->len, key->len);
    set(&e->conn, conn);
    set(&e->number, number);
    set(&e->twin, 0);
    set(&e->next, get(head_of(m, key->hash)));
    e->prev = 0;
    for (w = 0; w < (key->len + 7u) / 8; w++) {
        if (w < NEAR_WORDS)
            set(&e->word[w], key->word[w]);
        else
            set(&rest_of(m, i)->word[w - NEAR_WORDS], key->word[w]);
    }
    if (i > get(&t->used))
        show(&t->used, i);
    show(&e->serial, (uint64_t)m->epoch << SERIAL_BITS | (get(&t->binds) + 1));
}

/* The key of a bound entry. */
static void key_of(struct uidmap *m, uint32_t i, struct uidmap_key *key)
{
    unsigned w;

    key->hash = get(&entry_of(m, i)->hash);
    key->len = get(&entry_of(m, i)->len);
    for (w = 0; w < (key->len + 7u) / 8; w++)
        key->word[w] = word_of(m, i, w);
}

/* Has a slot of `bits` nothing under this mask, so that it clears its bit
 * next?  One that has died will not: its heir tells its bindings, and then
 * both of us were the last. */
static bool is_another_later(const struct uidmap *m, uint32_t hash,
                             uint64_t bits)
{
    for (; bits != 0; bits &= bits - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(bits);

        if (uidmap_has_left(m, m->self / 64 * 64 + bit, hash))
            return true;
    }
    return false;
}

/* Nobody finds the entry any more; an heir would still tell of it.  Is no
 * other binding of the uid left? */
static bool take_out(struct uidmap *m, uint32_t i)
{
    struct uidmap_table *t = m->own.table;
    struct uidmap_entry *e = entry_of(m, i);
    uint64_t bits = 0;
    struct uidmap_key key;
    struct others o;

    key_of(m, i, &key);
    hold(m, get(&e->conn), 0);
    unlink_entry(m, i);
    if (get(&e->twin) != 0)
        unlink_twin(m, i);
    o = others_of(m, &key);
    if (!o.mask)
        bits = drop_bit(m, key.hash);
    atomic_thread_fence(memory_order_seq_cst); /* before we look elsewhere */
    count(&t->bindings, -1);
    if (o.uid)
        return false;
    count(&t->uids, -1);
    return !uidmap_elsewhere(m, &key) && !is_another_later(m, key.hash, bits);
}

static void release(struct uidmap *m, uint32_t i)
{
    show(&entry_of(m, i)->serial, 0);
    entry_of(m, i)->prev = m->free;
    m->free = i;
}

static bool drop(struct uidmap *m, uint32_t i)
{
    bool last = take_out(m, i);

    release(m, i);
    return last;
}

/* True when the conn has this uid already; it has no other afterwards. */
static bool is_bound(struct uidmap *m, const struct uidmap_key *key,
                     uint64_t conn, uint64_t number)
{
    uint32_t i = held_by(m, conn);

    if (i == 0)
        return false;
    if (get(&entry_of(m, i)->conn) != conn || !has_key(m, i, key)) {
        (void)drop(m, i);
        return false;
    }
    if (number > get(&entry_of(m, i)->number)) {
        set(&entry_of(m, i)->number, number);
        atomic_thread_fence(memory_order_seq_cst); /* as after a link */
    }
    return true;
}

int uidmap_bind(struct uidmap *m, struct slice uid, uint64_t conn,
                uint64_t number)
{
    struct uidmap_table *t = m->own.table;
    struct uidmap_key key;
    uint32_t i;

    sd_check(m, UIDMAP_MAGIC);
    sd_assert(t != NULL && uid.len > 0 && uid.len <= UIDMAP_UID);
    uidmap_key(m, &key, uid);
    if (is_bound(m, &key, conn, number))
        return 0;
    if (get(&t->bindings) == m->block->conns)
        return SD_EFULL;
    i = take_entry(m);
    hold(m, conn, i);
    count(&t->bindings, 1);
    if (!others_of(m, &key).uid)
        count(&t->uids, 1);
    fill(m, i, &key, conn, number);
    raise_bit(m, key.hash);
    link_entry(m, i);
    atomic_store(&t->binds, get(&t->binds) + 1);
    atomic_thread_fence(memory_order_seq_cst);
    if (uidmap_elsewhere(m, &key))
        link_twin(m, i);
    return 0;
}

/* The entry of exactly this binding, 0: there is none. */
static uint32_t entry_for(struct uidmap *m, struct slice uid, uint64_t conn)
{
    struct uidmap_key key;
    uint32_t i;

    sd_check(m, UIDMAP_MAGIC);
    sd_assert(m->own.table != NULL);
    i = held_by(m, conn);
    if (i == 0 || uid.len == 0 || uid.len > UIDMAP_UID)
        return 0;
    uidmap_key(m, &key, uid);
    if (get(&entry_of(m, i)->conn) != conn || !has_key(m, i, &key))
        return 0;
    return i;
}

bool uidmap_unbind(struct uidmap *m, struct slice uid, uint64_t conn,
                   bool *last)
{
    uint32_t i = entry_for(m, uid, conn);
    bool was_last;

    if (i == 0)
        return false;
    was_last = drop(m, i);
    if (last != NULL)
        *last = was_last;
    return true;
}

uint32_t uidmap_end(struct uidmap *m, struct slice uid, uint64_t conn,
                    bool *last)
{
    uint32_t i = entry_for(m, uid, conn);

    *last = false;
    if (i == 0)
        return 0;
    if (m->debts == m->block->debts) {
        *last = drop(m, i);
        return 0;
    }
    *last = take_out(m, i);
    m->debts++;
    return i;
}

void uidmap_settle(struct uidmap *m, uint32_t debt)
{
    sd_check(m, UIDMAP_MAGIC);
    if (debt == 0)
        return;
    sd_assert(m->debts > 0 && debt <= get(&m->own.table->used));
    m->debts--;
    release(m, debt);
}
