/* ranks.c - see ranks.h.
 *
 * The heaviest few are found without taking them out: whoever comes next is
 * the heaviest of the children of those found so far. */
#include "net/ranks.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    FIRST_CAP = 16
};

void ranks_fini(struct ranks *r)
{
    mem_free(r->at);
    *r = (struct ranks){0};
}

static void put(struct ranks *r, uint32_t i, struct rank *node)
{
    r->at[i] = node;
    node->place = i + 1;
}

static void rise(struct ranks *r, uint32_t i)
{
    struct rank *node = r->at[i];

    while (i > 0 && r->at[(i - 1) / 2]->weight < node->weight) {
        put(r, i, r->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(r, i, node);
}

static void sink(struct ranks *r, uint32_t i)
{
    struct rank *node = r->at[i];
    uint32_t child;

    while ((child = 2 * i + 1) < r->n) {
        if (child + 1 < r->n && r->at[child + 1]->weight > r->at[child]->weight)
            child++;
        if (r->at[child]->weight <= node->weight)
            break;
        put(r, i, r->at[child]);
        i = child;
    }
    put(r, i, node);
}

static void take_out(struct ranks *r, struct rank *node)
{
    uint32_t i = node->place - 1;
    struct rank *last = r->at[--r->n];

    node->place = 0;
    node->weight = 0;
    if (last == node)
        return;
    put(r, i, last);
    rise(r, i);
    sink(r, last->place - 1);
}

void ranks_set(struct ranks *r, struct rank *node, uint64_t weight)
{
    sd_assert(node->place <= r->n);
    if (weight == 0) {
        if (node->place != 0)
            take_out(r, node);
        return;
    }
    node->weight = weight;
    if (node->place == 0) {
        if (r->n == r->cap) {
            r->cap = r->cap > 0 ? r->cap * 2 : FIRST_CAP;
            r->at = mem_realloc(r->at, r->cap * sizeof(struct rank *));
        }
        put(r, r->n++, node);
    }
    rise(r, node->place - 1);
    sink(r, node->place - 1);
}

struct rank *ranks_first(const struct ranks *r)
{
    return r->n > 0 ? r->at[0] : NULL;
}

static void swap(struct rank **a, struct rank **b)
{
    struct rank *t = *a;

    *a = *b;
    *b = t;
}

uint32_t ranks_top(const struct ranks *r, struct rank **out, uint32_t max)
{
    /* Those who may come next.  Each one found adds two and leaves itself. */
    struct rank **next = mem_alloc((max + 2) * sizeof(struct rank *));
    uint32_t waiting = 0, found = 0, i, best;

    if (r->n > 0)
        next[waiting++] = r->at[0];
    while (waiting > 0 && found < max) {
        for (best = 0, i = 1; i < waiting; i++) {
            if (next[i]->weight > next[best]->weight)
                best = i;
        }
        swap(&next[best], &next[waiting - 1]);
        out[found] = next[--waiting];
        for (i = 0; i < 2; i++) {
            uint32_t child = 2 * (out[found]->place - 1) + 1 + i;

            if (child < r->n)
                next[waiting++] = r->at[child];
        }
        found++;
    }
    mem_free(next);
    return found;
}
