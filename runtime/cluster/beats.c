/* beats.c - see beats.h.
 *
 * Clocks are cut to 32 bits of microseconds, which come round after an hour,
 * and are made odd, so that 0 says "none".  All times are differences, so
 * where the two clocks stand does not matter.
 *
 * Who reads a stamp sees `ours - theirs`: how much our clock is ahead, and how
 * long the way was.  The smallest that was seen is taken for the former, so
 * the quickest way counts as none.  That would hold for ever if clocks did;
 * they drift, and that of a machine that was stopped or moved may jump.  A beat
 * bounds it from below: its way was a part of the way there and back, which we
 * have measured by our own clock.  So while clocks go evenly no wait is called
 * longer than it was; after a jump of the peer's clock they are, until a beat
 * has come that was made after it and answers one made after it. */
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

/* Of two moments of a clock that comes round. */
static bool is_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static void see(struct beats *b, uint32_t made, uint32_t now)
{
    if (!b->has_shift || is_before(now - made, b->shift))
        b->shift = now - made;
    b->has_shift = true;
}

int beats_take(struct beats *b, struct slice payload, uint64_t us)
{
    struct beat beat;
    uint32_t now = cut(us), way;

    if (payload.len != sizeof(beat))
        return SD_EPROTO;
    memcpy(&beat, payload.p, sizeof(beat));
    b->made = le32toh(beat.made);
    b->came = now;
    see(b, b->made, now);
    way = now - le32toh(beat.echo) - le32toh(beat.held);
    if (beat.echo == 0 || way >= BEATS_WAY_MAX)
        return 0;
    b->round_trip = way > 0 ? way : 1;
    if (is_before(b->shift, now - b->made - way))
        b->shift = now - b->made - way;
    return 0;
}

void beats_write_stamp(char out[BEATS_STAMP_SIZE], uint64_t us)
{
    uint32_t made = htole32(cut(us));

    memcpy(out, &made, sizeof(made));
}

int beats_take_stamp(struct beats *b, struct slice payload, uint64_t us)
{
    uint32_t made;

    if (payload.len != sizeof(made))
        return SD_EPROTO;
    memcpy(&made, payload.p, sizeof(made));
    b->stamp = le32toh(made);
    see(b, b->stamp, cut(us));
    return 0;
}

uint32_t beats_waited(const struct beats *b, uint64_t us)
{
    uint32_t read = cut(us) - b->shift; /* by the peer's clock */

    return b->stamp != 0 && is_before(b->stamp, read) ? read - b->stamp : 0;
}
