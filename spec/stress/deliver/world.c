/* world.c - chance, notes, and events in their order. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world *world;
struct totals totals;
enum mutation mutation;
uint64_t mutated;
uint64_t traced = UINT64_MAX;

uint64_t rnd(void)
{
    uint64_t x = world->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

unsigned below(unsigned n)
{
    return (unsigned)(rnd() % n);
}

bool chance(unsigned percent)
{
    return below(100) < percent;
}

void note(uint64_t x)
{
    world->hash = (world->hash ^ x) * UINT64_C(0x100000001b3);
}

void wrong(const char *fmt, ...)
{
    va_list ap;

    totals.wrong++;
    if (world->wrongs++ > 3 || mutation != NONE)
        return;
    printf("wrong at %.3f ms: ", (double)world->now / MS);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

void trace(const char *what, uint64_t message, unsigned a, unsigned b)
{
    if (message == traced)
        printf("%.3f ms: %s %u %u\n", (double)world->now / MS, what, a, b);
}

void trace_link(const char *what, const struct chan *c)
{
    if (traced != UINT64_MAX)
        printf("%.3f ms: link %u %s, worker %u, relay %u\n",
               (double)world->now / MS, (unsigned)(c - world->chan), what, c->w,
               c->r);
}

void trace_frame(const char *what, const struct chan *c, unsigned type,
                 struct slice p)
{
    struct frames_data d;
    uint32_t index;

    if (traced == UINT64_MAX)
        return;
    if (!frames_is_data(type) || frames_read_data(&d, type, p) < 0)
        return;
    memcpy(&index, d.body.p, sizeof(index));
    if (index == traced)
        printf("%.3f ms: %s on link %u, worker %u, relay %u: flags %u term %u "
               "base %u prev %u spots %u life %u\n",
               (double)world->now / MS, what, (unsigned)(c - world->chan), c->w,
               c->r, d.order.flags, d.order.term, d.order.base_back,
               d.order.prev_back, (unsigned)d.spots.len, d.head.life_ms);
}

/* --- events ---- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

void push(struct event e)
{
    size_t i = world->events++;

    if (world->events > world->room) {
        world->room = world->room > 0 ? world->room * 2 : 1024;
        world->heap = realloc(world->heap, world->room * sizeof(e));
    }
    for (; i > 0 && is_before(&e, &world->heap[(i - 1) / 2]); i = (i - 1) / 2)
        world->heap[i] = world->heap[(i - 1) / 2];
    world->heap[i] = e;
}

struct event pop(void)
{
    struct event top = world->heap[0], e = world->heap[--world->events];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < world->events) {
        if (child + 1 < world->events &&
            is_before(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (!is_before(&world->heap[child], &e))
            break;
        world->heap[i] = world->heap[child];
        i = child;
    }
    world->heap[i] = e;
    return top;
}

void after(uint64_t us, enum event_type type, unsigned a, unsigned b,
           unsigned c, uint64_t n)
{
    push((struct event){.at = world->now + us,
                        .order = ++world->orders,
                        .type = type,
                        .a = a,
                        .b = b,
                        .c = c,
                        .n = n});
}

uint64_t now_ms(void)
{
    return world->now / MS;
}
