/* uidmap_table.h - inside of uidmap: what lies in shared memory, and how it is
 * read.  For runtime/ipc/uidmap*.c only. */
#ifndef SD_IPC_UIDMAP_TABLE_H
#define SD_IPC_UIDMAP_TABLE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/slice.h"
#include "ipc/slots.h"
#include "ipc/uidmap.h"

enum {
    UIDMAP_MAGIC = 0x51d0a901,
    KEY_WORDS = UIDMAP_UID / 8,
    NEAR_WORDS = 3, /* of a uid, in the entry itself */
    FAR_WORDS = KEY_WORDS - NEAR_WORDS,
    MASK_WORDS = SLOTS_MAX / 64,
    SERIAL_BITS = 48
};

/* A binding: one cache line, as long as its uid has no more than 24 bytes.
 * Entries are numbered from 1; as a link 0 is "none". */
struct uidmap_entry {
    alignas(64) _Atomic uint64_t serial; /* epoch 16, bind 48; 0: not bound */
    _Atomic uint64_t conn;
    _Atomic uint64_t number;
    _Atomic uint32_t hash;
    _Atomic uint32_t next; /* in its bucket; serials fall along a chain */
    uint32_t prev;         /* writer's; of a free one: the next free one */
    _Atomic uint8_t len;
    _Atomic uint8_t twin; /* is in the chain of twins too */
    _Atomic uint64_t word[NEAR_WORDS];
};

/* What few entries need, apart so that its pages mostly stay untouched. */
struct uidmap_rest {
    _Atomic uint32_t twin_next;
    uint32_t twin_prev; /* writer's */
    _Atomic uint64_t word[FAR_WORDS];
};

/* Heads, entries and rests follow. */
struct uidmap_table {
    alignas(64) _Atomic uint32_t epoch; /* 0: void */
    _Atomic uint32_t used;              /* entries that were ever bound */
    _Atomic uint64_t binds;             /* so far */
    _Atomic uint32_t bindings, uids;    /* now */
    _Atomic uint32_t twins;             /* head of their chain */
    _Atomic uint32_t ntwins;
    alignas(64) _Atomic uint64_t claim; /* see uidmap_dead.c */
};

struct uidmap_block {
    uint32_t magic;
    uint32_t workers;
    uint32_t conns;   /* that may be bound in a table */
    uint32_t debts;   /* ended bindings that are kept besides */
    uint32_t max;     /* entries of a table: the sum */
    uint32_t buckets; /* of a table, a power of two */
    uint32_t masks;   /* buckets of the masks, a multiple of that */
    uint32_t words;   /* of a mask */
    struct hash_key key;
};

/* One table as this process sees it. */
struct uidmap_view {
    struct uidmap_table *table;
    _Atomic uint32_t *heads;
    struct uidmap_entry *entries; /* [0] is not used */
    struct uidmap_rest *rests;
    uint16_t epoch; /* that of the bindings one looks for */
};

struct uidmap {
    unsigned magic;
    unsigned self;
    uint16_t epoch;
    struct uidmap_block *block;
    const struct slots *slots;
    _Atomic uint64_t *masks;
    char *tables;
    size_t table_size, entries_at, rests_at;
    uint64_t number; /* the last bind number given */
    /* The writer's; NULL and 0 in other processes. */
    struct uidmap_view own;
    uint32_t free;     /* first free entry below table->used */
    uint32_t debts;    /* ended entries that are kept */
    uint32_t *by_conn; /* index of a conn id -> entry */
    uint32_t conns;    /* places in by_conn */
};

/* A uid as it is compared. */
struct uidmap_key {
    uint64_t word[KEY_WORDS]; /* zeroes behind the last byte */
    uint32_t hash;
    uint8_t len;
};

/* A binding as it was at one moment. */
struct uidmap_copy {
    struct uidmap_key key; /* words only without a key to compare with */
    uint64_t serial, conn, number;
    uint32_t index, next, twin_next;
    bool twin;
    bool match;
};

/* Along a chain: set up by uidmap_walk(). */
struct uidmap_walk {
    struct uidmap_view v;
    const _Atomic uint32_t *head;
    const struct uidmap_key *key; /* NULL: all */
    uint64_t below;               /* what is shown comes from before that */
    uint32_t bucket, mask;        /* where the chain's entries belong */
    uint32_t at, steps;
    bool twins;
};

void uidmap_key(const struct uidmap *m, struct uidmap_key *key,
                struct slice uid);

/* Where (slot, epoch) has its table; another epoch may be in it. */
struct uidmap_view uidmap_view(const struct uidmap *m, unsigned slot,
                               unsigned epoch);

/* That of the living process of a slot; false: there is none. */
bool uidmap_live(const struct uidmap *m, unsigned slot, struct uidmap_view *v);

/* Copy entry `i`, if it is bound; whether it has that key if one is given. */
bool uidmap_copy(const struct uidmap_view *v, uint32_t i,
                 const struct uidmap_key *key, struct uidmap_copy *c);

/* Walk the bucket of a hash, all or what has the key, or all twins. */
void uidmap_walk(struct uidmap_walk *w, const struct uidmap *m,
                 const struct uidmap_view *v, uint32_t hash,
                 const struct uidmap_key *key);
void uidmap_walk_twins(struct uidmap_walk *w, const struct uidmap *m,
                       const struct uidmap_view *v);
bool uidmap_step(struct uidmap_walk *w, struct uidmap_copy *c);

/* Is that slot living, and has it nothing under the mask of a hash? */
bool uidmap_has_left(const struct uidmap *m, unsigned slot, uint32_t hash);

/* Is the uid bound in another living slot than our own? */
bool uidmap_elsewhere(const struct uidmap *m, const struct uidmap_key *key);

/* Claim by force, unless told; false: it is told, or not of that epoch. */
bool uidmap_take_over(struct uidmap *m, const struct uidmap_dead *dead);

/* The claim word of a table that nobody has to tell yet. */
uint64_t uidmap_unclaimed(uint16_t epoch);

static inline uint32_t mask_of(const struct uidmap *m, uint32_t hash)
{
    return hash & (m->block->masks - 1);
}

static inline _Atomic uint64_t *mask_word(const struct uidmap *m, uint32_t mask,
                                          unsigned slot)
{
    return m->masks + (size_t)mask * m->block->words + slot / 64;
}

static inline uint16_t epoch_of(uint64_t serial)
{
    return (uint16_t)(serial >> SERIAL_BITS);
}

static inline struct slice key_uid(const struct uidmap_key *key)
{
    return slice_make(key->word, key->len);
}

#endif
