/* inside.h - the client's end of a console in a worker (vm/console.h). */
#ifndef SD_CMD_INSIDE_H
#define SD_CMD_INSIDE_H

#include <stddef.h>

#include "base/buf.h"
#include "cmd/row.h"

/* Zeroed at first; embedded. */
struct inside {
    int fd; /* 0: not open */
    struct buf in;
    size_t used; /* bytes of `in` that the last line took */
};

/* Ask for worker number `worker`, and do not wait for it: its greeting is the
 * first line.  0 or a negative code, as ctl_ask(). */
int inside_open(struct inside *s, unsigned worker);
void inside_close(struct inside *s); /* idempotent */

/* That line, read into `who`.  0 or a negative code, as inside_line();
 * SD_EUNAVAILABLE: there is no such worker, `who` has the "error". */
int inside_greeting(struct inside *s, struct row *who, int ms);

/* One line to it.  0 or a negative code. */
int inside_send(struct inside *s, struct slice line);

/* The next line from it, without its end, valid until the next call; waits up
 * to `ms`, -1: for ever.  0, SD_ETIMEOUT, or another negative code.  What is
 * waiting is taken also when `ms` is 0. */
int inside_line(struct inside *s, struct slice *line, int ms);

#endif
