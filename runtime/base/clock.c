/* clock.c - see clock.h. */
#include "base/clock.h"

#include <time.h>

static uint64_t advanced_ms;

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

uint64_t clock_ns(void)
{
    return (uint64_t)read_ns(CLOCK_MONOTONIC) + advanced_ms * 1000000;
}

uint64_t clock_ms(void)
{
    return clock_ns() / 1000000;
}

int64_t clock_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000 + (int64_t)advanced_ms;
}

void clock_advance(uint64_t ms)
{
    advanced_ms += ms;
}
