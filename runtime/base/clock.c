/* clock.c - see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

uint64_t clock_tick_ns(void)
{
    return (uint64_t)read_ns(CLOCK_MONOTONIC_COARSE) + advanced_ms * 1000000;
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

bool clock_cpu_ms(int pid, uint64_t *ms)
{
    unsigned long user, sys;
    char path[32], line[512];
    const char *p = NULL;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    if (fgets(line, sizeof(line), f) != NULL)
        p = strrchr(line, ')'); /* the name before it may hold anything */
    fclose(f);
    if (p == NULL || sscanf(p + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                            "%lu %lu",
                            &user, &sys) != 2)
        return false;
    *ms = (user + sys) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
    return true;
}
