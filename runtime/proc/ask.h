/* ask.h - one line to the control socket of our own master, and its answer,
 * without waiting: how an agent asks for what a person at the terminal would.
 *
 * Embedded by its owner, opened by zeroing. */
#ifndef SD_PROC_ASK_H
#define SD_PROC_ASK_H

#include "base/buf.h"
#include "base/slice.h"
#include "loop/loop.h"
#include "loop/timer.h"

struct pollfd_watch;

struct ask {
    struct loop *loop;
    /* The line, without its end; empty: there was none within the time. */
    void (*on_answer)(struct ask *ask, struct slice line);
    int fd; /* private from here; 0: nothing is asked */
    struct pollfd_watch *watch;
    struct timer timer;
    struct buf in;
};

/* The answer comes within `ms`.  One at a time. */
void ask_begin(struct ask *a, const char *line, unsigned ms);
bool ask_is_on(const struct ask *a);

/* No answer any more.  Idempotent. */
void ask_end(struct ask *a);

#endif
