/* heap.h - what happens next in a simulation: events by time, and those of
 * one time in the order in which they were added. */
#ifndef SD_SPEC_SIM_HEAP_H
#define SD_SPEC_SIM_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event {
    uint64_t time; /* microseconds */
    uint64_t number;
    uint32_t kind; /* the world's */
    uint32_t who;
    char *bytes; /* the event's, or NULL */
    size_t len;
};

struct heap {
    struct event *events;
    size_t count, room;
    uint64_t number;
};

void heap_add(struct heap *h, struct event e);

/* False: nothing is left. */
bool heap_pop(struct heap *h, struct event *e);
void heap_fini(struct heap *h);

#endif
