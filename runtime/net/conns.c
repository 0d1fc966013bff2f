/* conns.c - see conns.h.
 *
 * Entries grow by doubling; a free entry links to the next free one, oldest
 * in front, so each index rests as long as possible before it comes back and
 * a stale id is caught by its generation for 2^20 lives of its index. */
#include "net/conns.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/mem.h"

#define CONNS_MAGIC    0xc0225ab1u
#define GENERATION_MAX ((1u << CONNS_GENERATION_BITS) - 1)
#define INDEX_MASK     ((uint64_t)CONNS_MAX - 1)
#define NONE           UINT32_MAX

struct entry {
    void *conn;          /* NULL: free or retired */
    uint32_t generation; /* of the conn, or of the next one */
    uint32_t next;       /* free entry behind this one */
};

struct conns {
    unsigned magic;
    uint64_t place; /* slot and epoch, where they are in an id */
    uint32_t size;  /* entries ever used */
    uint32_t cap;
    uint32_t oldest, newest; /* free entries, NONE: none */
    uint32_t first_generation;
    struct entry *at;
};

struct conns *conns_new(unsigned slot, unsigned epoch)
{
    struct conns *c = mem_zalloc(sizeof(*c));

    sd_assert(slot < 256 && epoch < 65536);
    c->magic = CONNS_MAGIC;
    c->place = ((uint64_t)slot << 16 | epoch) << 40;
    c->oldest = c->newest = NONE;
    c->first_generation = 1; /* so that no id is 0 */
    return c;
}

void conns_free(struct conns **cp)
{
    if (*cp == NULL)
        return;
    sd_check(*cp, CONNS_MAGIC);
    (*cp)->magic = 0;
    mem_free((*cp)->at);
    mem_free(*cp);
    *cp = NULL;
}

/* A free index, NONE when all are used or retired. */
static uint32_t take_index(struct conns *c)
{
    uint32_t index = c->oldest;

    if (index != NONE) {
        c->oldest = c->at[index].next;
        if (c->oldest == NONE)
            c->newest = NONE;
        return index;
    }
    if (c->size == CONNS_MAX)
        return NONE;
    if (c->size == c->cap) {
        c->cap = c->cap > 0 ? c->cap * 2 : 64;
        c->at = mem_realloc(c->at, c->cap * sizeof(*c->at));
    }
    c->at[c->size].generation = c->first_generation;
    return c->size++;
}

uint64_t conns_add(struct conns *c, void *conn)
{
    uint32_t index;

    sd_check(c, CONNS_MAGIC);
    sd_assert(conn != NULL);
    index = take_index(c);
    if (index == NONE)
        return 0;
    c->at[index].conn = conn;
    return c->place | (uint64_t)index << CONNS_GENERATION_BITS |
           c->at[index].generation;
}

static struct entry *entry_of(const struct conns *c, uint64_t id)
{
    uint64_t index = id >> CONNS_GENERATION_BITS & INDEX_MASK;
    struct entry *e;

    sd_check(c, CONNS_MAGIC);
    if (id >> 40 != c->place >> 40 || index >= c->size)
        return NULL;
    e = &c->at[index];
    if (e->conn == NULL || e->generation != (id & GENERATION_MAX))
        return NULL;
    return e;
}

void *conns_find(const struct conns *c, uint64_t id)
{
    struct entry *e = entry_of(c, id);

    return e != NULL ? e->conn : NULL;
}

void conns_withdraw(struct conns *c, uint64_t id)
{
    struct entry *e = entry_of(c, id);

    sd_assert(e != NULL);
    e->conn = NULL;
}

void conns_return(struct conns *c, uint64_t id)
{
    uint32_t index = (uint32_t)(id >> CONNS_GENERATION_BITS & INDEX_MASK);
    struct entry *e = &c->at[index];

    sd_check(c, CONNS_MAGIC);
    sd_assert(index < c->size && e->conn == NULL &&
              e->generation == (id & GENERATION_MAX));
    if (e->generation == GENERATION_MAX)
        return;
    e->generation++;
    e->next = NONE;
    if (c->newest == NONE)
        c->oldest = index;
    else
        c->at[c->newest].next = index;
    c->newest = index;
}

void conns_remove(struct conns *c, uint64_t id)
{
    conns_withdraw(c, id);
    conns_return(c, id);
}

void *conns_next(const struct conns *c, uint32_t *cursor)
{
    sd_check(c, CONNS_MAGIC);
    while (*cursor < c->size) {
        void *conn = c->at[(*cursor)++].conn;

        if (conn != NULL)
            return conn;
    }
    return NULL;
}

unsigned conns_slot(uint64_t id)
{
    return (unsigned)(id >> 56);
}

unsigned conns_epoch(uint64_t id)
{
    return (unsigned)(id >> 40) & 0xffff;
}

void conns_set_first_generation(struct conns *c, uint32_t generation)
{
    sd_check(c, CONNS_MAGIC);
    sd_assert(generation > 0 && generation <= GENERATION_MAX);
    c->first_generation = generation;
}
