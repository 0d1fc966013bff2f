/* window.h - which numbers of a sender have been seen, among the last 1,024.
 *
 * Pure, and opened by zeroing.  Numbers start at 1.  Asking and noting are two
 * calls, because whoever says a number must be believed first: ask, verify,
 * then note. */
#ifndef SD_CLUSTER_WINDOW_H
#define SD_CLUSTER_WINDOW_H

#include <stdint.h>

enum {
    WINDOW_SIZE = 1024,
    WINDOW_WORDS = WINDOW_SIZE / 64 + 1,
};

enum window_verdict {
    WINDOW_FRESH,
    WINDOW_SEEN,
    WINDOW_OLD, /* too long ago to tell; also 0, which nobody sends */
};

struct window {
    uint64_t top; /* the highest number noted */
    uint64_t bits[WINDOW_WORDS];
};

enum window_verdict window_judge(const struct window *w, uint64_t n);

/* `n` is seen from now on; it was fresh. */
void window_note(struct window *w, uint64_t n);

#endif
