/* conn_timer.c - the deadlines of a conn, on one timer.
 *
 * The timer waits for the nearest deadline.  What only moves a deadline away
 * (each byte that arrives does) leaves it alone: when it fires too early it is
 * set anew, so the packet path never touches the wheel. */
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "net/inner.h"

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t auth_due(const struct conn *c)
{
    uint64_t wait = c->port->conf->auth_timeout;

    if (wait == 0 || c->had_uid || c->proto->name == CONN_HTTP)
        return UINT64_MAX;
    return c->opened_at + wait;
}

static uint64_t idle_due(const struct conn *c)
{
    uint64_t wait = c->port->conf->idle_timeout;

    if (wait == 0)
        return UINT64_MAX;
    if (c->proto->on_half_idle != NULL && !c->is_half_idle)
        wait = (wait + 1) / 2;
    return c->last_in + wait;
}

static uint64_t slow_due(const struct conn *c)
{
    uint64_t wait = c->port->conf->slow_timeout;

    return wait == 0 || c->slow_at == 0 ? UINT64_MAX : c->slow_at + wait;
}

static uint64_t throttle_due(const struct conn *c)
{
    return c->throttled_until != 0 ? c->throttled_until : UINT64_MAX;
}

static uint64_t next_due(const struct conn *c)
{
    uint64_t due = sooner(c->due != 0 ? c->due : UINT64_MAX, slow_due(c));

    if (!conn_is_alive(c))
        return due;
    return sooner(sooner(due, throttle_due(c)),
                  sooner(auth_due(c), idle_due(c)));
}

void conn_arm(struct conn *c)
{
    uint64_t due = next_due(c), now = conn_now(c);

    if (c->state == CONN_CLOSED || due == UINT64_MAX) {
        timer_stop(c->net->loop, &c->timer);
        return;
    }
    if (!timer_is_on(&c->timer) || c->timer.due > due)
        timer_start(c->net->loop, &c->timer, due > now ? due - now : 0);
}

size_t conn_unacked(struct conn *c)
{
    size_t ours = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    int kernels = 0;
    uv_os_fd_t fd;

    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        (void)ioctl(fd, SIOCOUTQ, &kernels);
    return ours + (kernels > 0 ? (size_t)kernels : 0);
}

/* Did the peer take nothing since the last look? */
static bool is_stuck(struct conn *c, uint64_t now)
{
    size_t left = conn_unacked(c);
    bool moved = left < c->slow_left;

    c->slow_left = left;
    c->slow_at = now;
    return !moved;
}

static void on_alive_due(struct conn *c, uint64_t now)
{
    if (auth_due(c) <= now) {
        conn_end(c, REASON_AUTH, 0);
        return;
    }
    if (throttle_due(c) <= now) {
        c->throttled_until = 0;
        net_ready(c);
    }
    if (c->due != 0 && c->due <= now) {
        c->due = 0;
        if (c->has_eof)
            conn_look(c);
        else
            c->proto->on_due(c);
    }
    if (!conn_is_alive(c) || idle_due(c) > now)
        return;
    if (!c->is_reading && !c->has_eof) {
        c->last_in = now; /* it was us who did not listen */
        return;
    }
    if (c->proto->on_half_idle != NULL && !c->is_half_idle) {
        c->is_half_idle = true;
        c->proto->on_half_idle(c);
    } else {
        c->proto->on_idle(c);
    }
}

void conn_on_timer(struct timer *t)
{
    struct conn *c = list_entry(t, struct conn, timer);
    uint64_t now;

    sd_check(c, CONN_MAGIC);
    now = conn_now(c);
    if (slow_due(c) <= now && is_stuck(c, now)) {
        conn_cut(c, REASON_SLOW);
        return;
    }
    if (conn_is_alive(c)) {
        on_alive_due(c, now);
    } else if (c->due <= now) {
        conn_close_handle(c);
        return;
    }
    conn_arm(c);
}
