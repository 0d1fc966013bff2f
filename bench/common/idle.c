/* idle.c - see idle.h.
 *
 * Each conn does one request first: a conn that was never read from has not
 * yet shown what it keeps.  A short run of ordinary load comes before the
 * first measurement, so that what a server makes once (pools, compiled code)
 * is not counted as the conns'. */
#include "common/idle.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/sock.h"
#include "common/util.h"

#define WARMUP_CONNS    64
#define WARMUP_REQUESTS 20000
#define SETTLE_TRIES    30

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

/* The PSS once two looks, 100 ms apart, agree; at the latest after 3 s. */
static double settled_pss(const struct proc_group *server)
{
    int64_t last = -1, now = proc_pss(server);
    int i;

    for (i = 0; i < SETTLE_TRIES && now != last && now >= 0; i++) {
        pause_ms(100);
        last = now;
        now = proc_pss(server);
    }
    if (now < 0)
        util_die("a server process has ended");
    return (double)now;
}

static int warm_up(struct idle_result *out, const struct client_plan *plan)
{
    struct client_plan warmup = *plan;
    struct client_result *result = util_alloc(1, sizeof(*result));
    int err;

    warmup.conns = WARMUP_CONNS;
    warmup.depth = 1;
    warmup.warmup = 0;
    warmup.requests = WARMUP_REQUESTS;
    err = client_run(result, &warmup);
    if (err < 0)
        snprintf(out->error, sizeof(out->error), "%s", result->error);
    free(result);
    return err;
}

static int open_one(const struct client_plan *plan, unsigned i)
{
    int fd = sock_connect(plan->address, plan->port, (int)(i & 31));

    if ((plan->work->upgrade && workload_upgrade(fd) < 0) ||
        workload_exchange(plan->work, fd, i) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int idle_run(struct idle_result *out, const struct client_plan *plan)
{
    uint64_t began;
    unsigned i;
    int *fds;

    *out = (struct idle_result){.conns = plan->conns};
    if (warm_up(out, plan) < 0)
        return -1;
    out->pss_before = settled_pss(plan->server);
    fds = util_alloc(plan->conns, sizeof(*fds));
    began = util_now();
    for (i = 0; i < plan->conns && out->error[0] == '\0'; i++) {
        fds[i] = open_one(plan, i);
        if (fds[i] < 0)
            snprintf(out->error, sizeof(out->error), "conn %u: no right reply",
                     i);
    }
    out->seconds = (double)(util_now() - began) / 1e9;
    if (out->error[0] == '\0')
        out->pss_after = settled_pss(plan->server);
    while (i > 0)
        if (fds[--i] >= 0)
            close(fds[i]);
    free(fds);
    return out->error[0] == '\0' ? 0 : -1;
}
