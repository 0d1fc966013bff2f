/* guard.h - who may use the admin port, and how often one may guess. */
#ifndef SD_PROC_GUARD_H
#define SD_PROC_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    GUARD_ADDRESSES = 32, /* remembered at once */
    GUARD_TRIES = 10,     /* wrong tokens an address has per second */
    GUARD_WINDOW = 1000,  /* ms */
    GUARD_TEXT = 46       /* bytes of an address with NUL */
};

struct guard_seen {
    char address[GUARD_TEXT];
    uint64_t since; /* ms; 0: a free place */
    unsigned tries;
};

/* Embedded, opened by zeroing with `token` set. */
struct guard {
    const char *token; /* borrowed; NULL: everybody may */
    struct guard_seen seen[GUARD_ADDRESSES];
};

enum guard_verdict {
    GUARD_PASS,
    GUARD_REFUSED, /* no token or a wrong one */
    GUARD_LIMITED  /* too many of those: not even looked at */
};

/* `authorization` is the header's value, empty when there is none. */
enum guard_verdict guard_judge(struct guard *g, const char *address,
                               struct slice authorization, uint64_t now);

/* Is `host`, with or without a port, an address or "localhost"?  Any other
 * name a browser may have looked up where an attacker said that it is us. */
bool guard_is_local(struct slice host);

#endif
