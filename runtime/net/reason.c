/* reason.c - see reason.h. */
#include "net/reason.h"

#include <string.h>

#include "base/assert.h"
#include "codec/utf8.h"

static const struct {
    const char *word;
    int code;
} reasons[REASON_COUNT] = {
    [REASON_CLIENT] = {"client", 1000},
    [REASON_ERROR] = {"error", 1011},
    [REASON_DRAIN] = {"drain", 1012},
    [REASON_STOP] = {"stop", 1001},
    [REASON_IDLE] = {"idle", 4001},
    [REASON_SLOW] = {"slow", 4002},
    [REASON_FRAME] = {"frame", 1002},
    [REASON_TOO_LARGE] = {"too_large", 1009},
    [REASON_AUTH] = {"auth", 4003},
    [REASON_KICKED] = {"kicked", 4004},
    [REASON_REPLACED] = {"replaced", 4005},
    [REASON_OWN] = {"own", 4000},
};

const char *reason_word(int reason)
{
    sd_assert(reason >= 0 && reason < REASON_COUNT);
    return reasons[reason].word;
}

int reason_of(const char *word)
{
    int r;

    for (r = 0; word != NULL && r < REASON_OWN; r++) {
        if (strcmp(reasons[r].word, word) == 0)
            return r;
    }
    return REASON_OWN;
}

int reason_code(int reason)
{
    sd_assert(reason >= 0 && reason < REASON_COUNT);
    return reasons[reason].code;
}

static bool is_inner(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

struct slice reason_fit(struct slice text)
{
    struct utf8 u = {0};

    text.len = utf8_cut(text, REASON_TEXT);
    if (utf8_feed(&u, text) && !utf8_is_done(&u)) {
        while (is_inner(text.p[text.len - 1]))
            text.len--;
        text.len--;
    }
    return text;
}
