/* gone.c - the end of the connection comes first; the lock of the pid file is
 * the last thing that a master gives up. */
#include "cmd/gone.h"

#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "proc/ctl.h"
#include "proc/instance.h"
#include "proc/pidfile.h"

enum {
    EXIT_WAIT = 10000,
    STEP = 10000000, /* ns */
};

static int wait_unlocked(int ms)
{
    struct timespec step = {.tv_nsec = STEP};
    uint64_t limit = clock_ms() + (uint64_t)ms;

    while (pidfile_owner(instance_pidfile()) != 0) {
        if (clock_ms() >= limit)
            return SD_ETIMEOUT;
        nanosleep(&step, NULL);
    }
    return 0;
}

int gone_wait(int fd, int ms)
{
    if (fd < 0)
        return wait_unlocked(ms);
    if (ctl_wait_end(fd, ms) < 0)
        return SD_ETIMEOUT;
    return wait_unlocked(EXIT_WAIT);
}
