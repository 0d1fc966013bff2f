/* beats.c - see beats.h.
 *
 * Clocks are cut to 32 bits of microseconds, which come round after an hour,
 * and are made odd, so that 0 says "none".  All times are differences, so
 * where the two clocks stand does not matter. */
#include "cluster/beats.h"

#include <endian.h>
#include <string.h>

#include "base/err.h"

struct beat {      /* little-endian */
    uint32_t made; /* by the sender's clock */
    uint32_t echo; /* `made` of the last beat it heard, 0: none, ... */
    uint32_t held; /* ... and for so many us since */
};

_Static_assert(sizeof(struct beat) == BEATS_SIZE, "no gaps");

static uint32_t cut(uint64_t us)
{
    return (uint32_t)us | 1;
}

void beats_write(const struct beats *b, char out[BEATS_SIZE], uint64_t us)
{
    struct beat beat = {.made = htole32(cut(us)), .echo = htole32(b->made)};

    if (b->made != 0)
        beat.held = htole32(cut(us) - b->came);
    memcpy(out, &beat, sizeof(beat));
}

int beats_take(struct beats *b, struct slice payload, uint64_t us)
{
    struct beat beat;
    uint32_t way;

    if (payload.len != sizeof(beat))
        return SD_EPROTO;
    memcpy(&beat, payload.p, sizeof(beat));
    b->made = le32toh(beat.made);
    b->came = cut(us);
    way = cut(us) - le32toh(beat.echo) - le32toh(beat.held);
    if (beat.echo != 0 && way < BEATS_WAY_MAX)
        b->round_trip = way > 0 ? way : 1;
    return 0;
}
