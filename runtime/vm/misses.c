/* misses.c - see misses.h.
 *
 * A hash table without chains: a name has WAYS places, from its own on, and
 * takes the free one or that of the oldest send. */
#include "vm/misses.h"

#include "base/assert.h"
#include "base/mem.h"

enum {
    LEAST = 1024,
    MOST = 1 << 20,
    ROOM = 4, /* places for each uid of a send */
    WAYS = 16
};

void misses_init(struct misses *m)
{
    *m = (struct misses){.key = hash_key_random(), .size = LEAST};
    m->at = mem_zalloc(m->size * sizeof(*m->at));
}

void misses_fini(struct misses *m)
{
    mem_free(m->at);
    m->at = NULL;
}

void misses_reserve(struct misses *m, uint32_t uids)
{
    uint32_t size = m->size;

    while (size < MOST && size / ROOM < uids)
        size *= 2;
    if (size == m->size)
        return;
    mem_free(m->at); /* and with it what is awaited: that is rare */
    m->at = mem_zalloc(size * sizeof(*m->at));
    m->size = size;
}

static uint64_t name_of(const struct misses *m, uint64_t send, struct slice uid)
{
    struct hash_key key = {m->key.k0 ^ send, m->key.k1};

    return hash_bytes(&key, uid);
}

static struct miss *place(const struct misses *m, uint64_t name, unsigned way)
{
    return &m->at[(name + way) & (m->size - 1)];
}

void misses_expect(struct misses *m, uint64_t send, struct slice uid,
                   uint32_t left)
{
    uint64_t name = name_of(m, send, uid);
    struct miss *oldest = place(m, name, 0);

    sd_assert(send > 0);
    for (unsigned way = 1; way < WAYS && oldest->send != 0; way++) {
        struct miss *one = place(m, name, way);

        if (one->send < oldest->send)
            oldest = one;
    }
    *oldest = (struct miss){name, send, left};
}

bool misses_note(struct misses *m, uint64_t send, struct slice uid)
{
    uint64_t name = name_of(m, send, uid);

    for (unsigned way = 0; way < WAYS; way++) {
        struct miss *one = place(m, name, way);

        if (one->send != send || one->name != name)
            continue;
        if (--one->left > 0)
            return false;
        one->send = 0;
        return true;
    }
    return false;
}
