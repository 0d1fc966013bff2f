/* chunked.h - decoder of the chunked transfer coding, incremental and strict.
 *
 * Bodies are handed out in place as slices of the input; framing, extensions
 * and trailers are checked and dropped.  The same bytes give the same pieces,
 * put together, in whatever portions they come. */
#ifndef SD_CODEC_CHUNKED_H
#define SD_CODEC_CHUNKED_H

#include <stdint.h>

#include "base/slice.h"

enum {
    CHUNKED_MAX_DIGITS = 16,     /* of one chunk's size */
    CHUNKED_MAX_EXTENSION = 256, /* bytes behind one chunk's size */
    CHUNKED_MAX_TRAILERS = 8192, /* bytes of all trailer lines */
};

struct chunked {
    uint64_t left;  /* of the chunk at hand; while its size is read, so far */
    uint64_t total; /* body bytes declared so far: judge max_body on it */
    uint32_t run;   /* digits, extension or trailer bytes so far */
    int state;      /* private */
};

/* An all-zero struct is ready too. */
void chunked_init(struct chunked *c);

/* Take bytes from the front of *in (it is advanced).
 * 1: *body is the next piece, not empty, borrowed from *in; call again
 * 0: the body ended; *in is what follows it
 * SD_EAGAIN: *in is used up, call again with more
 * SD_EPROTO: malformed or over a limit (400, close); stays so
 * SD_ETOOLARGE: total would pass 2^53 (413, close); stays so
 * After each call that returned 1 or SD_EAGAIN compare c->total with the
 * limit: it counts a chunk as soon as its size line has ended. */
int chunked_next(struct slice *body, struct chunked *c, struct slice *in);

#endif
