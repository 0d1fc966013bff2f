/* refusal.c - see refusal.h. */
#include "cluster/refusal.h"

#include <string.h>

#include "base/assert.h"
#include "cluster/hand.h"

static const struct {
    const char *word;
    enum hand_why why; /* HAND_FINE: ... */
    const char *text;  /* ... this one */
} refusals[] = {
    [REFUSAL_STRANGER] = {"stranger", HAND_STRANGER, NULL},
    [REFUSAL_VERSION] = {"version", HAND_OTHER_VERSION, NULL},
    [REFUSAL_CLUSTER] = {"cluster", HAND_OTHER_CLUSTER, NULL},
    [REFUSAL_KEY] = {"unknown_key", HAND_UNKNOWN_KEY, NULL},
    [REFUSAL_PROOF] = {"bad_proof", HAND_WRONG_PROOF, NULL},
    [REFUSAL_MALFORMED] = {"malformed", HAND_MALFORMED, NULL},
    [REFUSAL_REPEATED] = {"repeated", HAND_REPEATED, NULL},
    [REFUSAL_LATE] = {"late", HAND_FINE, "no proof in time"},
    [REFUSAL_CROWDED] = {"crowded", HAND_FINE, "too many that prove nothing"},
    [REFUSAL_UNWELCOME] = {"unwelcome", HAND_FINE, "not welcome"},
    [REFUSAL_CLOSED] = {"closed", HAND_FINE, ""},
};

enum refusal refusal_of(const char *why)
{
    int r = 0;

    for (; r < REFUSAL_CLOSED; r++) {
        const char *text = refusals[r].why != HAND_FINE
                               ? hand_why_text(refusals[r].why)
                               : refusals[r].text;

        if (strncmp(why, text, strlen(text)) == 0)
            break;
    }
    return (enum refusal)r;
}

const char *refusal_word(int refusal)
{
    sd_assert(refusal >= 0 && refusal < REFUSAL_COUNT);
    return refusals[refusal].word;
}
