/* cluster_sockets.c - see cluster_sockets.h.
 *
 * Who lives where travels in what members tell each other, so the port of
 * membership is of no account: when the usual one is taken, by another node of
 * this host, any will do.  Announcements are heard at the port behind the
 * usual one, which all share. */
#include "proc/cluster_sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cluster/address.h"
#include "cluster/announce.h"
#include "cluster/gossip_msg.h"
#include "cluster/own_address.h"

enum {
    BACKLOG = 1024
};

/* Any IPv6 address takes IPv4 too. */
static int bind_to(int type, const struct gossip_address *a)
{
    int family = address_is_v4(a) ? AF_INET : AF_INET6, off = 0, on = 1;
    int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;
    struct sockaddr_storage at;
    socklen_t len = address_to(&at, a, family);

    if (fd < 0)
        return -errno;
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, len) == 0)
        return fd;
    err = -errno;
    close(fd);
    return err;
}

static int bound_address(struct gossip_address *out, int fd)
{
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof(at);

    if (getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        return -errno;
    return address_from(out, (struct sockaddr *)&at) ? 0 : SD_EINVALID;
}

static int open_gossip(struct cluster_sockets *s, const struct conf *conf,
                       struct gossip_address *bound)
{
    int err;

    s->gossip = bind_to(SOCK_DGRAM, bound);
    if (s->gossip == -EADDRINUSE && conf->cluster.bind == NULL) {
        log_info("cluster.bind: port %u is taken: another one is used",
                 bound->port);
        bound->port = 0;
        s->gossip = bind_to(SOCK_DGRAM, bound);
    }
    if (s->gossip < 0)
        return s->gossip;
    err = bound_address(bound, s->gossip);
    return err < 0 ? err
                   : own_address(&s->told, bound, conf->cluster.advertise);
}

/* Without it members are found by seeds, so it is no reason to refuse. */
static void open_announce(struct cluster_sockets *s, uint16_t usual,
                          const struct gossip_address *bound)
{
    uint16_t port = (uint16_t)(usual + 1);

    if (usual == 0 || usual == UINT16_MAX)
        return;
    s->announce = announce_socket(port, address_is_loopback(bound));
    if (s->announce >= 0)
        return;
    log_warn("no announcements on the local network: port %u: %s", port,
             err_str(s->announce));
    s->announce = -1;
}

static int open_relay(struct cluster_sockets *s, unsigned i,
                      struct gossip_address at, unsigned port)
{
    int err;

    at.port = (uint16_t)(port > 0 ? port + i : 0);
    s->relay[i] = bind_to(SOCK_STREAM, &at);
    if (s->relay[i] < 0)
        return s->relay[i];
    s->nrelays = i + 1;
    if (listen(s->relay[i], BACKLOG) < 0)
        return -errno;
    err = bound_address(&at, s->relay[i]);
    s->relay_port[i] = at.port;
    return err;
}

int cluster_sockets_open(struct cluster_sockets *s, const struct conf *conf,
                         unsigned relays, char *why, size_t size)
{
    const char *bind = conf_cluster_bind(conf);
    struct gossip_address at;
    uint16_t usual;
    int err;

    *s = (struct cluster_sockets){.gossip = -1, .announce = -1};
    err = address_read(&at, slice_str(bind));
    usual = at.port;
    if (err == 0)
        err = open_gossip(s, conf, &at);
    if (err < 0) {
        snprintf(why, size, "cluster.bind: %s: %s", bind, err_str(err));
        return err;
    }
    if (!gossip_address_is_sound(&s->told)) {
        snprintf(why, size, "cluster.advertise: nobody is reached at %s",
                 conf->cluster.advertise != NULL ? conf->cluster.advertise
                                                 : bind);
        return SD_EINVALID;
    }
    if (conf->cluster.discovery == CONF_BY_LAN)
        open_announce(s, usual, &at);
    for (unsigned i = 0; i < relays && err == 0; i++)
        err = open_relay(s, i, at, conf->dispatch.port);
    if (err < 0)
        snprintf(why, size, "dispatch.port: %u: %s",
                 conf->dispatch.port + s->nrelays, err_str(err));
    return err;
}

void cluster_sockets_close(struct cluster_sockets *s)
{
    if (s->gossip >= 0)
        close(s->gossip);
    if (s->announce >= 0)
        close(s->announce);
    for (unsigned i = 0; i < s->nrelays; i++)
        close(s->relay[i]);
    *s = (struct cluster_sockets){.gossip = -1, .announce = -1};
}

void cluster_sockets_bequeath(const struct cluster_sockets *s,
                              struct heritage *h)
{
    struct heritage_cluster *c = &h->cluster;

    c->gossip = s->gossip;
    c->announce = s->announce;
    memcpy(c->ip, s->told.ip, sizeof(c->ip));
    c->port = s->told.port;
    for (unsigned i = 0; i < s->nrelays; i++) {
        c->relay[i] = s->relay[i];
        c->relay_port[i] = s->relay_port[i];
    }
}
