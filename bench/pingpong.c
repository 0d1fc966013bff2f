/* pingpong.c - what two sleeping processes need to wake each other.
 *
 *   pingpong [rounds]
 *
 * One process on core 0 and one on core 1, an eventfd for each: no message
 * between two workers that wait for it can be quicker.  Prints one line of
 * JSON: the time there and back. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/hist.h"
#include "common/util.h"

#define WARMUP 1000

static void pin(int core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        util_die("core %d: %s", core, strerror(errno));
}

static void wake(int fd)
{
    uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) != sizeof(one))
        util_die("write: %s", strerror(errno));
}

static void wait_for(int fd)
{
    uint64_t n;

    if (read(fd, &n, sizeof(n)) != sizeof(n) || n != 1)
        util_die("read: %s", strerror(errno));
}

static _Noreturn void answer(int ping, int pong)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(1);
    for (;;) {
        wait_for(ping);
        wake(pong);
    }
}

int main(int argc, char **argv)
{
    static struct hist hist;
    double rounds = argc > 1 ? util_number("rounds", argv[1], 1, 1e9) : 20000;
    int ping = eventfd(0, EFD_CLOEXEC), pong = eventfd(0, EFD_CLOEXEC);
    pid_t pid = fork();
    double i;

    if (pid == 0)
        answer(ping, pong);
    if (pid < 0 || ping < 0 || pong < 0)
        util_die("%s", strerror(errno));
    pin(0);
    for (i = -WARMUP; i < rounds; i++) {
        uint64_t began = util_now();

        wake(ping);
        wait_for(pong);
        if (i >= 0)
            hist_add(&hist, util_now() - began);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    printf("{\"p50_us\":%.2f,\"p99_us\":%.2f}\n", hist_us(&hist, 0.5),
           hist_us(&hist, 0.99));
    return 0;
}
