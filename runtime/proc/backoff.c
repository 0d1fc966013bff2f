/* backoff.c - the ring holds the last crashes: full and young means a loop. */
#include <string.h>

#include "proc/backoff.h"

void backoff_on_ready(struct backoff *b, uint64_t now)
{
    b->ready = now;
}

static bool was_well(const struct backoff *b, uint64_t now)
{
    return b->ready != 0 && now - b->ready >= BACKOFF_WINDOW;
}

/* Remember this crash; true when the one BACKOFF_CRASHES before it lies
 * within the window. */
static bool is_loop(struct backoff *b, uint64_t now)
{
    uint64_t oldest = b->crashes[b->at];

    b->crashes[b->at] = now;
    b->at = (b->at + 1) % BACKOFF_CRASHES;
    return oldest != 0 && now - oldest < BACKOFF_WINDOW;
}

uint64_t backoff_on_crash(struct backoff *b, uint64_t now, uint32_t random)
{
    uint64_t wait = BACKOFF_FIRST;

    if (was_well(b, now))
        memset(b, 0, sizeof(*b));
    b->ready = 0;
    if (is_loop(b, now) || b->open) {
        b->open = true;
        return BACKOFF_WINDOW;
    }
    if (b->row++ == 0)
        return 0;
    for (unsigned i = 2; i < b->row && wait < BACKOFF_LAST; i++)
        wait *= 2;
    if (wait > BACKOFF_LAST)
        wait = BACKOFF_LAST;
    return wait + random % (wait / 5);
}
