/* conn.c - the life of a conn: see conn.h.
 *
 * accepted -> open -> closing (what was queued is written) -> lingering (our
 * side is shut, the peer's end awaited, so that a last reply is not lost to a
 * reset) -> closed.  From the first step of closing the id is stale and
 * nothing goes up any more but one on_close(), at the end of the turn.  A
 * client that ends only its own side (conn_finish()) stays open until all it
 * has sent was answered.
 *
 * The struct is counted: the uv handle, the upper layer (from on_open() to
 * conn_released()) and a request in hand each hold it. */
#include "net/conn.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/inner.h"

static void conn_free(struct conn *c)
{
    struct net *n = c->net;

    sd_assert(c->request == NULL);
    list_del(&c->all);
    list_del(&c->ready);
    list_del(&c->dirty);
    net_give_buf(n, &c->in);
    net_give_buf(n, &c->out);
    net_give_buf(n, &c->queue);
    if (c->ws != NULL) {
        ws_reader_fini(c->ws);
        mem_free(c->ws);
    }
    mem_free(c->uid);
    mem_free(c->own_reason);
    conn_set_session(c, slice_make(NULL, 0));
    format_unref(c->format);
    c->magic = 0;
    mem_free(c);
    net_unref(n);
}

void conn_ref(struct conn *c)
{
    c->refs++;
}

void conn_unref(struct conn *c)
{
    sd_check(c, CONN_MAGIC);
    sd_assert(c->refs > 0);
    if (--c->refs == 0)
        conn_free(c);
}

static void keep_peer(struct conn *c, const struct sockaddr_storage *peer)
{
    if (peer->ss_family == AF_INET6) {
        struct sockaddr_in6 a;

        memcpy(&a, peer, sizeof(a));
        c->peer_is_6 = true;
        c->peer_port = ntohs(a.sin6_port);
        memcpy(c->peer, &a.sin6_addr, 16);
    } else {
        struct sockaddr_in a;

        memcpy(&a, peer, sizeof(a));
        c->peer_port = ntohs(a.sin_port);
        memcpy(c->peer, &a.sin_addr, 4);
    }
}

struct conn *conn_new(struct net *n, struct net_port *port)
{
    struct conn *c = mem_zalloc(sizeof(*c));

    c->magic = CONN_MAGIC;
    c->net = n;
    c->port = port;
    c->format = format_ref(port->format);
    c->refs = 1;
    list_init(&c->ready);
    list_init(&c->dirty);
    list_add(&n->all, &c->all);
    c->timer.fn = conn_on_timer;
    c->opened_at = c->last_in = conn_now(c);
    c->state = CONN_OPENING;
    n->refs++;
    n->alive++;
    uv_tcp_init(loop_uv(n->loop), &c->tcp);
    c->tcp.data = c;
    return c;
}

bool conn_take_address(struct conn *c, unsigned max)
{
    struct tally *tally = c->net->tally;
    char name[ADDRESS_NAME];
    uint64_t key;

    if (c->port->conf->max_conns_per_address == 0)
        return true;
    address_name(name, c->port->index, c->peer, c->peer_is_6);
    key = tally_key(tally, slice_make(name, sizeof(name)));
    if (!tally_take_key(tally, key, max))
        return false;
    c->address = key;
    return true;
}

/* False: its address has as many conns as one may. */
static bool count_address(struct conn *c)
{
    if (conn_take_address(c, c->port->conf->max_conns_per_address))
        return true;
    log_warn("port %s: one address has its max_conns_per_address: a client "
             "was refused",
             c->port->conf->name);
    return false;
}

void conn_accept(struct net *n, struct net_port *port, int fd,
                 const struct sockaddr_storage *peer)
{
    struct conn *c = conn_new(n, port);
    int err = uv_tcp_open(&c->tcp, fd);

    keep_peer(c, peer);
    if (err < 0)
        close(fd);
    else if (count_address(c))
        c->id = conns_add(n->conns, c);
    if (c->id == 0) {
        n->counters.refused++;
        conn_close_handle(c);
        return;
    }
    n->counters.accepted++;
    if (port->conf->protocol == CONF_HTTP) {
        c->proto = &proto_http;
        c->state = CONN_OPEN;
        if (port->conf->head_timeout > 0)
            c->due = c->opened_at + port->conf->head_timeout;
    } else {
        c->proto = &proto_stream;
        conn_go_up(c);
    }
    conn_arm(c);
    conn_update_reading(c);
}

void conn_go_up(struct conn *c)
{
    c->state = CONN_OPENING;
    c->is_up = true;
    c->owes_open = true;
    conn_ref(c);
    net_ready(c);
}

void conn_opened(struct conn *c)
{
    sd_check(c, CONN_MAGIC);
    if (c->state != CONN_OPENING)
        return;
    c->state = CONN_OPEN;
    if (c->waiting > 0 || c->in.len > 0)
        net_ready(c);
}

void conn_hold(struct conn *c, bool hold)
{
    sd_check(c, CONN_MAGIC);
    if (c->is_held == hold)
        return;
    c->is_held = hold;
    if (!hold && conn_is_alive(c))
        net_ready(c);
}

void conn_done(struct conn *c)
{
    sd_check(c, CONN_MAGIC);
    sd_assert(c->inflight > 0);
    c->inflight--;
    if (!conn_is_alive(c))
        return;
    if (c->waiting > 0 || c->has_eof)
        net_ready(c);
    else if (conn_is_leaving(c) && c->inflight == 0)
        conn_end(c, c->net->stop_reason, 0);
}

void conn_released(struct conn *c)
{
    sd_check(c, CONN_MAGIC);
    sd_assert(c->is_up && !conn_is_alive(c) && !c->owes_close);
    c->is_up = false;
    conn_unref(c);
}

/* --- closing -------------------------------------------------------------- */

void net_uncount(struct net *n, unsigned port, uint64_t address)
{
    tally_give(n->tally, NET_TALLY_ALL);
    tally_give(n->tally, NET_TALLY_PORT + port);
    if (address != 0)
        tally_give_key(n->tally, address);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;

    sd_check(c, CONN_MAGIC);
    c->net->alive--;
    if (!c->is_forgotten)
        net_uncount(c->net, c->port->index, c->address);
    conn_unref(c);
}

void conn_close_handle(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    timer_stop(c->net->loop, &c->timer);
    conn_drop_output(c);
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}

/* One line for what the peer did wrong; the log limits a flood of them. */
static void log_departure(const struct conn *c, int reason)
{
    char address[CONN_ADDRESS];
    unsigned port;

    switch (reason) {
    case REASON_ERROR:
    case REASON_SLOW:
    case REASON_FRAME:
    case REASON_TOO_LARGE:
    case REASON_AUTH:
        break;
    default:
        return;
    }
    if (!log_enabled(LOG_INFO))
        return;
    port = conn_peer(c, address);
    log_info("port %s: closed %s port %u: %s", c->port->conf->name, address,
             port, reason_word(reason));
}

/* The conn is no longer one for anybody above. */
static void depart(struct conn *c, int reason)
{
    c->state = CONN_CLOSING;
    c->reason = (uint8_t)reason;
    c->net->counters.closed[reason]++;
    if (reason == REASON_SLOW)
        conn_was_slow(c);
    log_departure(c, reason);
    conns_remove(c->net->conns, c->id);
    c->owes_close = c->is_up;
    c->due = conn_now(c) + (reason == REASON_SLOW ? SLOW_CUT_MS : CUT_MS);
    if (c->request != NULL)
        http_on_gone(c);
    conn_drop_input(c);
    net_ready(c);
}

static void end_alive(struct conn *c, int reason, int code)
{
    depart(c, reason);
    if (c->proto->farewell != NULL)
        c->proto->farewell(c, code != 0 ? code : reason_code(reason));
    conn_queue(c);
    conn_update_reading(c);
    conn_arm(c);
}

void conn_end(struct conn *c, int reason, int code)
{
    const struct conn_ops *ops = c->net->ops;

    sd_check(c, CONN_MAGIC);
    if (conn_is_alive(c) && c->is_up && !c->owes_open &&
        reason != REASON_CLIENT && ops->on_bye != NULL)
        ops->on_bye(c->net->arg, c, reason_word(reason));
    if (conn_is_alive(c))
        end_alive(c, reason, code);
}

void conn_cut(struct conn *c, int reason)
{
    sd_check(c, CONN_MAGIC);
    if (conn_is_alive(c))
        depart(c, reason);
    conn_close_handle(c);
}

void conn_close(struct conn *c, const char *reason, int code)
{
    int known = reason_of(reason);

    sd_check(c, CONN_MAGIC);
    if (!conn_is_alive(c))
        return;
    if (known == REASON_OWN && reason != NULL)
        c->own_reason = mem_dup(reason, strlen(reason));
    end_alive(c, known, code);
}

void conn_shut(struct conn *c)
{
    int fd;

    if (c->has_eof || uv_fileno((uv_handle_t *)&c->tcp, &fd) < 0) {
        conn_close_handle(c);
        return;
    }
    c->state = CONN_LINGERING;
    (void)shutdown(fd, SHUT_WR); /* a peer that is gone shows as a read */
    c->due = conn_now(c) + LINGER_MS;
    conn_arm(c);
}

void conn_work(struct conn *c)
{
    if (c->owes_open) {
        c->owes_open = false;
        c->net->ops->on_open(c->net->arg, c);
    }
    if (c->owes_close) {
        c->owes_close = false;
        c->net->ops->on_close(c->net->arg, c,
                              c->own_reason != NULL ? c->own_reason
                                                    : reason_word(c->reason));
        return;
    }
    if (c->is_slow && conn_is_alive(c)) {
        c->is_slow = false;
        conn_end(c, REASON_SLOW, 0);
    }
    if (!conn_is_alive(c))
        return;
    conn_deliver(c);
    if (c->proto->on_work != NULL)
        c->proto->on_work(c);
    conn_resume(c);
    conn_finish(c);
}

void conn_asks_add(struct conn *c, int by)
{
    sd_check(c, CONN_MAGIC);
    sd_assert(by >= 0 || c->asks >= (unsigned)-by);
    c->asks += (unsigned)by;
    /* It is read on behind a full backlog; or no answer can come. */
    if (by > 0 && (c->waiting > 0 || c->has_eof))
        net_ready(c);
}

unsigned conn_asks(const struct conn *c)
{
    return c->asks;
}
