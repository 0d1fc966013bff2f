/* inside.h - the client's end of a console in a worker (vm/console.h). */
#ifndef SD_CMD_INSIDE_H
#define SD_CMD_INSIDE_H

#include <stddef.h>

#include "base/buf.h"

/* Zeroed at first; embedded. */
struct inside {
    int fd; /* 0: not open */
    struct buf in;
    size_t used; /* bytes of `in` that the last line took */
};

/* Reach worker number `worker`; the line in which it says who it is comes
 * first.  0, or a negative code with one line in `why`: SD_EUNAVAILABLE when
 * there is no such worker, else as ctl_ask(). */
int inside_open(struct inside *s, unsigned worker, char *why, size_t size);
void inside_close(struct inside *s); /* idempotent */

/* One line to it.  0 or a negative code. */
int inside_send(struct inside *s, struct slice line);

/* The next line from it, without its end, valid until the next call; waits up
 * to `ms`, -1: for ever.  0, SD_ETIMEOUT, or another negative code. */
int inside_line(struct inside *s, struct slice *line, int ms);

#endif
