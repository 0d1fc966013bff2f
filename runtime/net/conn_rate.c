/* conn_rate.c - `rate`: how much a conn may send in a second.
 *
 * For messages and for bytes there is one number each: the time up to which
 * what came is paid for.  Each packet moves it by what it costs at the port's
 * rate; it may run one second ahead, so a second's worth may come at once.
 * Beyond that the conn is not worked on until the time has come, and reading
 * stops; a request over HTTP is refused with 429 instead, by its own protocol.
 * Of a WebSocket each frame is paid for when it comes: one that controls as a
 * message, a fragment by its bytes and the last one as the message. */
#include "net/inner.h"

#define AHEAD_MS   1000.0
#define NEGLIGIBLE 0.5 /* ms; sums of fractions are not exact */
#define SECOND_MS  1000.0

static double pay(double paid, double now, double cost)
{
    return (paid > now ? paid : now) + cost;
}

static double message_cost(const struct conn *c)
{
    return SECOND_MS / c->port->conf->rate_messages;
}

/* Milliseconds until the next packet may come; 0: at once. */
static double wait_of(const struct conn *c)
{
    const struct conf_port *conf = c->port->conf;
    double limit = (double)conn_now(c) + AHEAD_MS, wait = 0;

    if (conf->rate_messages > 0)
        wait = pay(c->paid_messages, limit - AHEAD_MS, message_cost(c)) - limit;
    if (conf->rate_bytes > 0 && c->paid_bytes - limit > wait)
        wait = c->paid_bytes - limit;
    return wait > NEGLIGIBLE ? wait : 0;
}

bool conn_is_over_rate(const struct conn *c)
{
    return conn_has_rate(c) && wait_of(c) > 0;
}

void conn_pay(struct conn *c, unsigned messages, size_t bytes)
{
    const struct conf_port *conf = c->port->conf;
    double now = (double)conn_now(c);

    if (conf->rate_messages > 0)
        c->paid_messages =
            pay(c->paid_messages, now, message_cost(c) * messages);
    if (conf->rate_bytes > 0)
        c->paid_bytes =
            pay(c->paid_bytes, now,
                (double)bytes * SECOND_MS / (double)conf->rate_bytes);
}

static void throttle(struct conn *c)
{
    double wait = wait_of(c);

    if (wait > 0) {
        c->throttled_until = conn_now(c) + (uint64_t)wait + 1;
        conn_arm(c);
    }
}

void conn_charge(struct conn *c, unsigned messages, size_t bytes)
{
    if (!conn_has_rate(c))
        return;
    conn_pay(c, messages, bytes);
    throttle(c);
}

static uint64_t limit_of(uint64_t conf)
{
    return conf > 0 ? conf : FRAME_MAX;
}

uint64_t conn_packet_max(const struct conn *c)
{
    const struct conf_port *conf = c->port->conf;

    switch (c->proto->name) {
    case CONN_TCP:
        return frame_limit(&c->format->frame);
    case CONN_WS:
        return c->ws->max;
    case CONN_HTTP:
        break;
    }
    return limit_of(conf->max_head) + limit_of(conf->max_body);
}

/* The time that is paid for, when one more at `cost` may come as long as it is
 * no more than a second ahead. */
static double owed(const struct conn *c, double ahead, double cost)
{
    double most = AHEAD_MS + cost;

    return (double)conn_now(c) + (ahead < most ? ahead : most);
}

void conn_owe(struct conn *c, double messages, double bytes, bool is_throttled)
{
    const struct conf_port *conf = c->port->conf;
    double largest = (double)conn_packet_max(c) * SECOND_MS;

    if (conf->rate_messages > 0)
        c->paid_messages = owed(c, messages, message_cost(c));
    if (conf->rate_bytes > 0)
        c->paid_bytes = owed(c, bytes, largest / (double)conf->rate_bytes);
    if (is_throttled && conn_has_rate(c))
        throttle(c);
}
