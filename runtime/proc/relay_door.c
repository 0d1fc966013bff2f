/* relay_door.c - see relay_door.h.
 *
 * A connection that cannot be accepted stays in the kernel's queue and keeps
 * the socket readable: who would go on polling it would do nothing else. */
#include "proc/relay_door.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/pollfd.h"
#include "loop/timer.h"

enum {
    DOOR_MAGIC = 0x72646f6f,
    ACCEPTS_MAX = 64, /* in one turn */
    PAUSE = 100,      /* ms */
    TELL_AGAIN = 1000
};

struct relay_door {
    unsigned magic;
    struct relay_door_config config;
    struct pollfd_watch *watch;
    struct timer pause;
    uint64_t tell_at;
};

static void on_pause_over(struct timer *t)
{
    pollfd_want(list_entry(t, struct relay_door, pause)->watch, true);
}

static void pause_accepting(struct relay_door *d, int err)
{
    uint64_t now = clock_ms();

    if (now >= d->tell_at) {
        d->tell_at = now + TELL_AGAIN;
        log_warn("accepting links pauses: %s", err_str(err));
    }
    links_give_up_one(d->config.links);
    pollfd_want(d->watch, false);
    timer_start(d->config.loop, &d->pause, PAUSE);
}

/* Not of ours, but of the connection that would have been accepted. */
static bool is_of_peer(int err)
{
    return err != EAGAIN && err != EMFILE && err != ENFILE && err != ENOBUFS &&
           err != ENOMEM;
}

static void on_acceptable(void *arg)
{
    struct relay_door *d = arg;

    sd_check(d, DOOR_MAGIC);
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd =
            accept4(d->config.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            d->config.on_fd(d->config.arg, fd);
        } else if (!is_of_peer(errno)) {
            if (errno != EAGAIN)
                pause_accepting(d, -errno);
            return;
        }
    }
}

int relay_door_open(struct relay_door **out,
                    const struct relay_door_config *config)
{
    struct relay_door *d = mem_zalloc(sizeof(*d));
    int err;

    d->magic = DOOR_MAGIC;
    d->config = *config;
    d->pause.fn = on_pause_over;
    err = pollfd_open(&d->watch, config->loop, config->fd, on_acceptable, d);
    if (err < 0) {
        mem_free(d);
        return err;
    }
    *out = d;
    return 0;
}

void relay_door_close(struct relay_door **dp)
{
    struct relay_door *d = *dp;

    if (d == NULL)
        return;
    sd_check(d, DOOR_MAGIC);
    timer_stop(d->config.loop, &d->pause);
    pollfd_close(&d->watch);
    d->magic = 0;
    mem_free(d);
    *dp = NULL;
}
