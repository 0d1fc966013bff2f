/* outcome.c - see outcome.h. */
#include "cluster/outcome.h"

#include "base/assert.h"
#include "base/err.h"

static const int codes[] = {
    [OUTCOME_OFFLINE] = SD_EOFFLINE, [OUTCOME_GONE] = SD_EGONE,
    [OUTCOME_BUSY] = SD_EBUSY,       [OUTCOME_SLOW] = SD_ESLOW,
    [OUTCOME_REFUSED] = SD_EREFUSED, [OUTCOME_TOO_LARGE] = SD_ETOOLARGE,
    [OUTCOME_OTHER] = SD_EFAILED,    [OUTCOME_TIMEOUT] = SD_ETIMEOUT,
    [OUTCOME_CLOSED] = SD_ECLOSED,
};

enum outcome outcome_of(int err)
{
    int o = 0;

    while (o < OUTCOME_COUNT && codes[o] != err)
        o++;
    return o < OUTCOME_COUNT ? (enum outcome)o : OUTCOME_OTHER;
}

const char *outcome_word(int outcome)
{
    sd_assert(outcome >= 0 && outcome < OUTCOME_COUNT);
    return err_word(codes[outcome]);
}
