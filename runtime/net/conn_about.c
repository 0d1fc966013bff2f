/* conn_about.c - what is known of a conn and what is kept with it: conn.h.
 *
 * Nothing here changes the conn's life; uid and session stay readable until
 * conn_released(). */
#include <arpa/inet.h>
#include <string.h>

#include "net/inner.h"

struct net *conn_net(const struct conn *c)
{
    return c->net;
}

uint64_t conn_id(const struct conn *c)
{
    return c->id;
}

unsigned conn_port(const struct conn *c)
{
    return c->port->index;
}

const struct conf_port *conn_conf(const struct conn *c)
{
    return c->port->conf;
}

enum conn_protocol conn_protocol(const struct conn *c)
{
    return c->proto->name;
}

bool conn_is_open(const struct conn *c)
{
    sd_check(c, CONN_MAGIC);
    return conn_is_alive(c);
}

bool conn_is_half_closed(const struct conn *c)
{
    sd_check(c, CONN_MAGIC);
    return conn_is_alive(c) && c->has_eof;
}

const char *conn_codec(const struct conn *c)
{
    return c->format->codec[c->proto->name == CONN_WS];
}

unsigned conn_format(const struct conn *c)
{
    return c->format->number;
}

const char *conn_route(const struct conn *c)
{
    return c->proto->name == CONN_WS ? c->port->conf->websocket.route
                                     : c->port->conf->route;
}

unsigned conn_peer(const struct conn *c, char *out)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (c->peer_is_6 && memcmp(c->peer, mapped, sizeof(mapped)) == 0)
        inet_ntop(AF_INET, c->peer + sizeof(mapped), out, CONN_ADDRESS);
    else
        inet_ntop(c->peer_is_6 ? AF_INET6 : AF_INET, c->peer, out,
                  CONN_ADDRESS);
    return c->peer_port;
}

struct slice conn_uid(const struct conn *c)
{
    return c->uid != NULL ? slice_str(c->uid) : slice_make("", 0);
}

void conn_set_uid(struct conn *c, struct slice uid)
{
    sd_check(c, CONN_MAGIC);
    mem_free(c->uid);
    c->uid = uid.len > 0 ? mem_dup(uid.p, uid.len) : NULL;
    if (uid.len > 0)
        c->had_uid = true;
    else if (!c->is_up)
        c->had_uid = false; /* a handshake is undone */
}

struct slice conn_session(const struct conn *c)
{
    return c->session;
}

void conn_set_session(struct conn *c, struct slice msgpack)
{
    union {
        const char *kept;
        char *ours;
    } old = {c->session.p};

    sd_check(c, CONN_MAGIC);
    c->session = slice_make(NULL, 0);
    if (msgpack.len > 0)
        c->session = slice_make(mem_dup(msgpack.p, msgpack.len), msgpack.len);
    mem_free(old.ours);
}

void *conn_user(const struct conn *c)
{
    return c->user;
}

void conn_set_user(struct conn *c, void *user)
{
    c->user = user;
}

uint32_t conn_mark(const struct conn *c)
{
    return c->mark;
}

void conn_set_mark(struct conn *c, uint32_t mark)
{
    c->mark = mark;
}
