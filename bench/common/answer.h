/* answer.h - how the floors answer: bytes in, bytes out, nothing else.
 *
 * A floor is a server without a script: the cheapest correct answer to each
 * workload.  What it costs beyond this is the kernel and the loop. */
#ifndef SD_BENCH_ANSWER_H
#define SD_BENCH_ANSWER_H

#include <stddef.h>

#include "common/bytes.h"

enum answer_protocol {
    ANSWER_TCP,
    ANSWER_WATCHER, /* TCP that receives what is published, too */
    ANSWER_HTTP,
    ANSWER_WS,
};

/* Spoil one byte of every n-th answer; 0 (the default) never.  A load
 * generator that does not notice is broken. */
void answer_corrupt_every(unsigned n);

/* Append to `out` the answers to all whole requests in `in`.  Returns the
 * bytes used up, which leaves at most one incomplete request, or -1 when the
 * peer is to be cut off.  An upgrade changes *protocol, and so does becoming a
 * watcher. */
long answer_feed(enum answer_protocol *protocol, struct bytes *out,
                 const char *in, size_t len);

/* What was published since it was last emptied (len = 0), which is for the
 * caller to do: made once, and the same for every watcher. */
struct bytes *answer_news(void);

#endif
