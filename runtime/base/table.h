/* table.h - an intrusive hash table that never stops to grow.
 *
 * It knows nodes and hashes only: the owner of the nodes compares keys.
 * Opened by zeroing; each add and each remove does a bounded part of the work
 * of resizing, so a table of a million nodes never holds up the loop. */
#ifndef SD_BASE_TABLE_H
#define SD_BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_node {
    struct table_node *next; /* in its bucket */
    uint32_t hash;
    uint32_t number; /* the owner's, to fill the gap */
};

struct table {
    struct table_node **bucket;
    uint32_t buckets; /* in use */
    uint32_t room;    /* allocated */
    uint32_t count;   /* nodes */
};

/* Frees the buckets; the nodes are the owner's. */
void table_fini(struct table *t);

/* Keeps `node` until table_del().  Equal hashes are fine. */
void table_add(struct table *t, struct table_node *node, uint32_t hash);
void table_del(struct table *t, struct table_node *node);

/* The nodes with this hash, one after the other; NULL ends. */
struct table_node *table_first(const struct table *t, uint32_t hash);
struct table_node *table_next(const struct table_node *node);

/* Whoever is to look for several asks for the memory first, so that the waits
 * for it overlap: for all of them the one, then for all the other, then
 * table_first().  `bytes` of a node are wanted. */
void table_expect(const struct table *t, uint32_t hash);
void table_expect_node(const struct table *t, uint32_t hash, size_t bytes);

/* Walk in pieces over a table that changes meanwhile: start with *cursor = 0;
 * each call hands some nodes to `fn`, which may not change the table.
 * *cursor is 0 again when all were shown.  A node that stays in the table
 * throughout is shown exactly once. */
void table_scan(struct table *t, uint64_t *cursor,
                void (*fn)(void *arg, struct table_node *node), void *arg);

#endif
