/* dial.h - a connected socket, made without blocking the loop.
 *
 * A name is looked up on libuv's threads and its addresses are tried one
 * after the other.  There is no deadline: whoever waits closes the dial. */
#ifndef SD_STORE_DIAL_H
#define SD_STORE_DIAL_H

#include "loop/loop.h"

struct dial;

/* The socket is the callee's; or `fd` is the negative code of the last
 * attempt.  Comes once, never before dial_open() returns; the dial has ended
 * then, but is still to be closed. */
typedef void dial_fn(void *arg, int fd);

struct dial_to {
    const char *path; /* of a Unix socket; empty: host and port */
    const char *host;
    unsigned port;
};

/* Copies the texts of `to`; keeps arg. */
void dial_open(struct dial **out, struct loop *l, struct dial_to to,
               dial_fn *fn, void *arg);

/* Idempotent; fn is not called any more. */
void dial_close(struct dial **dp);

#endif
