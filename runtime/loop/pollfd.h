/* pollfd.h - a descriptor that is watched: eventfds, listeners, sockets. */
#ifndef SD_LOOP_POLLFD_H
#define SD_LOOP_POLLFD_H

#include <stdbool.h>

#include "loop/loop.h"

struct pollfd_watch;

/* Call fn(arg) whenever `fd` is readable (level-triggered).  Borrows fd: close
 * it after pollfd_close() only.  0 or a uv code. */
int pollfd_open(struct pollfd_watch **out, struct loop *l, int fd,
                void (*fn)(void *arg), void *arg);

/* Pause and resume. */
void pollfd_want(struct pollfd_watch *p, bool want);

/* Call fn also when `fd` is writable; off at first. */
void pollfd_want_write(struct pollfd_watch *p, bool want);

/* Idempotent; fn is not called any more. */
void pollfd_close(struct pollfd_watch **pp);

#endif
