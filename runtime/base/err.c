/* err.c - see err.h. */
#include "base/err.h"

#include <string.h>

#include "base/assert.h"

static const struct {
    int err;
    int status;
    const char *word;
    const char *text;
} table[] = {
    {SD_EPROTO, 400, "invalid", "malformed message"},
    {SD_EFULL, 503, "busy", "queue full"},
    {SD_EAGAIN, 400, "invalid", "incomplete message"},
    {SD_EINVALID, 400, "invalid", "unreadable or wrong data"},
    {SD_EREFUSED, 409, "refused", "refused"},
    {SD_EOFFLINE, 404, "offline", "no such uid is online"},
    {SD_EGONE, 410, "gone", "the other end no longer exists"},
    {SD_ETOOLARGE, 413, "too_large", "over a limit"},
    {SD_EBUSY, 503, "busy", "a queue is full"},
    {SD_ESLOW, 503, "slow", "the receiver does not read"},
    {SD_EUNAVAILABLE, 503, "unavailable", "a service is away"},
    {SD_ETIMEOUT, 504, "timeout", "deadline passed"},
    {SD_ECLOSED, 502, "closed", "the peer closed meanwhile"},
    {SD_ECRASHED, 502, "crashed", "the process died"},
    {SD_ECANCELLED, 503, "cancelled", "cancelled"},
    {SD_EFAILED, 500, "failed", "failed"},
};

#define NTABLE (sizeof(table) / sizeof(table[0]))

const char *err_str(int err)
{
    size_t i;

    sd_assert(err <= 0);
    for (i = 0; i < NTABLE; i++) {
        if (table[i].err == err)
            return table[i].text;
    }
    return strerror(-err);
}

const char *err_word(int err)
{
    size_t i;

    for (i = 0; i < NTABLE; i++) {
        if (table[i].err == err)
            return table[i].word;
    }
    return "failed";
}

int err_status(const char *word)
{
    size_t i;

    for (i = 0; i < NTABLE; i++) {
        if (strcmp(table[i].word, word) == 0)
            return table[i].status;
    }
    return 400;
}
