/* reason.h - why conns close: words and WebSocket codes. */
#ifndef SD_NET_REASON_H
#define SD_NET_REASON_H

#include "base/slice.h"

enum {
    REASON_TEXT = 123 /* bytes that a close frame can carry */
};

enum reason {
    REASON_CLIENT, /* the peer closed, or reset */
    REASON_ERROR,  /* the network or a script failed */
    REASON_DRAIN,
    REASON_STOP,
    REASON_IDLE,
    REASON_SLOW,
    REASON_FRAME,
    REASON_TOO_LARGE,
    REASON_AUTH,
    REASON_KICKED,
    REASON_REPLACED,
    REASON_OWN, /* any other text: the application's */
    REASON_COUNT,
};

/* The word of a reason; "own" for REASON_OWN.  Static. */
const char *reason_word(int reason);

/* The reason of a word; NULL and unknown words are REASON_OWN. */
int reason_of(const char *word);

/* Code of the close frame that tells a client so. */
int reason_code(int reason);

/* What a close frame can carry of a text: its first characters, and no half
 * one, also where the text itself was cut inside its last. */
struct slice reason_fit(struct slice text);

#endif
