/* outq.h - the pushes that wait to be written to one conn, oldest first.
 * Pure.
 *
 * Replies wait elsewhere, as one run of bytes; a push knows behind how many
 * of them it comes.  A push with a key can be replaced in its place while it
 * waits. */
#ifndef SD_NET_OUTQ_H
#define SD_NET_OUTQ_H

#include <stddef.h>
#include <stdint.h>

#include "net/shared.h"

struct outq;

enum {
    /* What one that waits takes beside its frame: its place and chain, with as
     * many free ones beside them, and what struct shared and malloc() add. */
    OUTQ_COST = 128
};

struct outq_push {
    struct shared *frame;
    uint64_t at;    /* behind so many bytes of replies, ever */
    uint64_t key;   /* of conflation; 0: none */
    uint32_t older; /* private */
};

/* Queues that had little to keep, for the next conns: a broadcast makes one
 * for each conn and frees it as soon as it is written.  Opened by zeroing. */
struct outq_pool {
    struct outq *first;
    unsigned n;
};

void outq_pool_fini(struct outq_pool *pool);

struct outq *outq_new(struct outq_pool *pool);
void outq_free(struct outq_pool *pool,
               struct outq **qp); /* and give its references back */

uint32_t outq_count(const struct outq *q);
size_t outq_bytes(const struct outq *q); /* of all frames */

/* The same and OUTQ_COST for each: what the queue is judged by. */
size_t outq_weight(const struct outq *q);

/* Memory of the queue itself, without frames. */
size_t outq_memory(const struct outq *q);

/* Queue a frame, of which a reference is kept. */
void outq_add(struct outq *q, struct shared *frame, uint64_t at, uint64_t key);

/* The frame that waits with this key (not 0), borrowed; NULL: none does. */
struct shared *outq_find(const struct outq *q, uint64_t key);

/* Put `frame` where one with the same key (not 0) waits, and give that one's
 * reference to the caller; NULL: none waits, nothing has happened. */
struct shared *outq_replace(struct outq *q, struct shared *frame, uint64_t key);

/* The i-th oldest, borrowed until the queue changes. */
const struct outq_push *outq_at(const struct outq *q, uint32_t i);

/* The oldest leaves; its reference is the caller's.  There must be one. */
struct shared *outq_take(struct outq *q);

#endif
