/* misses.c - see misses.h. */
#include "vm/misses.h"

void misses_init(struct misses *m)
{
    *m = (struct misses){.key = hash_key_random()};
}

static uint64_t name_of(const struct misses *m, uint64_t send, struct slice uid)
{
    struct hash_key key = {m->key.k0 ^ send, m->key.k1};

    return hash_bytes(&key, uid) | 1; /* 0 is nobody */
}

void misses_expect(struct misses *m, uint64_t send, struct slice uid,
                   unsigned left)
{
    uint64_t name = name_of(m, send, uid);

    m->at[name / 2 % MISSES].name = name;
    m->at[name / 2 % MISSES].left = left;
}

bool misses_note(struct misses *m, uint64_t send, struct slice uid)
{
    uint64_t name = name_of(m, send, uid);
    unsigned i = name / 2 % MISSES;

    if (m->at[i].name != name || m->at[i].left == 0)
        return false;
    return --m->at[i].left == 0;
}
