/* unanswered.h - the data frames of one direction of a link that wait for
 * their answers, by number.  Pure.
 *
 * Numbers are 1, 2, 3 ...; answers come in any order. */
#ifndef SD_CLUSTER_UNANSWERED_H
#define SD_CLUSTER_UNANSWERED_H

#include <stdbool.h>
#include <stdint.h>

enum {
    UNANSWERED_SPAN = 1 << 20 /* from the oldest without answer to the next */
};

/* Opened by zeroing. */
struct unanswered {
    void **slot;    /* room is a power of two; NULL: answered */
    uint64_t first; /* nothing before it waits */
    uint64_t next;  /* the number of the next frame, less 1 */
    uint32_t room;
    uint32_t count;
};

void unanswered_fini(struct unanswered *u);

/* False: the oldest has waited for UNANSWERED_SPAN others. */
bool unanswered_has_room(const struct unanswered *u);

/* Keep `frame`, not NULL: its number.  There must be room. */
uint64_t unanswered_add(struct unanswered *u, void *frame);

/* Take the frame of this number.  NULL: no frame of that number waits. */
void *unanswered_take(struct unanswered *u, uint64_t number);

/* Take the oldest.  NULL: none is left. */
void *unanswered_oldest(struct unanswered *u);

#endif
