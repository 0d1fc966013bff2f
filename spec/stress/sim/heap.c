/* heap.c - see heap.h: a binary heap. */
#include "heap.h"

#include "base/mem.h"

static bool is_before(const struct event *a, const struct event *b)
{
    return a->time < b->time || (a->time == b->time && a->number < b->number);
}

void heap_add(struct heap *h, struct event e)
{
    size_t i = h->count++, up;

    if (h->count > h->room) {
        h->room = h->room > 0 ? h->room * 2 : 1024;
        h->events = mem_realloc(h->events, h->room * sizeof(e));
    }
    e.number = h->number++;
    for (; i > 0; i = up) {
        up = (i - 1) / 2;
        if (!is_before(&e, &h->events[up]))
            break;
        h->events[i] = h->events[up];
    }
    h->events[i] = e;
}

bool heap_pop(struct heap *h, struct event *e)
{
    struct event last;
    size_t i = 0, down;

    if (h->count == 0)
        return false;
    *e = h->events[0];
    last = h->events[--h->count];
    for (; (down = 2 * i + 1) < h->count; i = down) {
        if (down + 1 < h->count &&
            is_before(&h->events[down + 1], &h->events[down]))
            down++;
        if (!is_before(&h->events[down], &last))
            break;
        h->events[i] = h->events[down];
    }
    h->events[i] = last;
    return true;
}

void heap_fini(struct heap *h)
{
    while (h->count > 0)
        mem_free(h->events[--h->count].bytes);
    mem_free(h->events);
}
