/* outbox_pool.c - blocks for letters, kept for the next ones. */
#include <stddef.h>

#include "base/mem.h"
#include "cluster/outbox_state.h"

enum {
    POOL_KEPT = 4096, /* free blocks of a class */
    UNPOOLED = 255
};

static const uint32_t class_size[POOL_CLASSES] = {256, 512, 1024, 2048};

struct letter *pool_letter(struct outbox *o, uint32_t len)
{
    size_t size = offsetof(struct letter, bytes) + len;
    struct letter *m;
    uint8_t c = 0;

    while (c < POOL_CLASSES && class_size[c] < size)
        c++;
    if (c == POOL_CLASSES) {
        m = mem_alloc(size);
        c = UNPOOLED;
    } else if (o->pool[c] != NULL) {
        m = o->pool[c];
        o->pool[c] = m->next;
        o->pooled[c]--;
    } else {
        m = mem_alloc(class_size[c]);
    }
    memset(m, 0, offsetof(struct letter, bytes));
    m->len = len;
    m->size_class = c;
    o->figures.count++;
    o->figures.bytes += len;
    return m;
}

void pool_put(struct outbox *o, struct letter *m)
{
    uint8_t c = m->size_class;

    o->figures.count--;
    o->figures.bytes -= m->len;
    if (c == UNPOOLED || o->pooled[c] >= POOL_KEPT) {
        mem_free(m);
        return;
    }
    m->next = o->pool[c];
    o->pool[c] = m;
    o->pooled[c]++;
}

void pool_free(struct outbox *o)
{
    struct letter *m;
    struct lane *s;
    unsigned i;

    for (i = 0; i < POOL_CLASSES; i++) {
        while ((m = o->pool[i]) != NULL) {
            o->pool[i] = m->next;
            mem_free(m);
        }
    }
    while ((s = o->free_lane) != NULL) {
        o->free_lane = s->next;
        mem_free(s);
    }
}
