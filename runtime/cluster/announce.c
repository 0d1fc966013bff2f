/* announce.c - see announce.h.
 *
 * Several agents on one host hear at one port: with SO_REUSEADDR the kernel
 * gives each of them a copy of what goes to many.  Interfaces come and go, so
 * they are listed anew each time something is said; the group is joined on new
 * ones then.  Where multicast is filtered broadcast may get through, and the
 * other way round. */
#include "cluster/announce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "loop/pollfd.h"
#include "loop/timer.h"

#define ANNOUNCE_MAGIC 0x616e6e6fu
#define GROUP          0xefc04f2eu /* 239.192.79.46, of an organisation */

enum {
    HEARD_MAX = 64, /* in one turn */
    DATAGRAM_MAX = 512,
    AT_FIRST = 100, /* ms, then twice as long each time, up to ... */
    LONELY = 1000,  /* ... while nobody is known, or ... */
    RARELY = 10000, /* ... when somebody is */
    TEXT = 4 + 8 + 16 + 2
};

static const char magic[4] = {'s', 'd', 'A', 1};

struct announce {
    unsigned magic;
    struct announce_config config;
    struct pollfd_watch *watch;
    struct timer timer;
    uint32_t wait;
    uint16_t port;
    bool is_local;
};

/* --- the text ------------------------------------------------------------- */

void announce_write(const struct announce_text *text, struct buf *out)
{
    uint64_t boot = htobe64(text->boot);
    uint16_t port = htons(text->address.port);

    buf_append(out, magic, sizeof(magic));
    buf_append(out, &boot, sizeof(boot));
    buf_append(out, text->address.ip, sizeof(text->address.ip));
    buf_append(out, &port, sizeof(port));
}

int announce_read(struct announce_text *out, struct slice bytes)
{
    uint16_t port;

    if (bytes.len != TEXT || memcmp(bytes.p, magic, sizeof(magic)) != 0)
        return SD_EPROTO;
    memcpy(&out->boot, bytes.p + 4, 8);
    out->boot = be64toh(out->boot);
    memcpy(out->address.ip, bytes.p + 12, 16);
    memcpy(&port, bytes.p + 28, 2);
    out->address.port = ntohs(port);
    return out->boot != 0 && port != 0 ? 0 : SD_EPROTO;
}

/* --- sockets -------------------------------------------------------------- */

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* A broadcast to another network of the host is not for us, so the address
 * that is bound is every one; to loopback alone nothing else gets. */
int announce_socket(uint16_t port, bool is_local)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

    if (fd < 0)
        return -errno;
    a.sin_addr.s_addr = htonl(is_local ? 0x7fffffff : INADDR_ANY);
    err = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err == 0)
        err = set(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (err == 0)
        err = set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    if (err == 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        err = -errno;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

static void join(int fd, struct in_addr interface)
{
    struct ip_mreqn m = {.imr_multiaddr.s_addr = htonl(GROUP),
                         .imr_address = interface};

    /* Joined before, or an interface that has no groups: no matter. */
    (void)setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m));
}

/* --- saying --------------------------------------------------------------- */

static void send_to(const struct announce *a, struct slice datagram,
                    struct in_addr to)
{
    struct sockaddr_in dest = {
        .sin_family = AF_INET, .sin_port = htons(a->port), .sin_addr = to};

    (void)sendto(a->config.socket, datagram.p, datagram.len, MSG_DONTWAIT,
                 (struct sockaddr *)&dest, sizeof(dest));
}

static struct in_addr v4_of(const struct sockaddr *a)
{
    struct sockaddr_in v4;

    memcpy(&v4, a, sizeof(v4));
    return v4.sin_addr;
}

/* The broadcast address of 127.0.0.0/8, which its interface does not tell. */
static struct in_addr broadcast_of(const struct ifaddrs *i)
{
    struct in_addr local = {htonl(0x7fffffff)};

    return (i->ifa_flags & IFF_LOOPBACK) != 0 ? local : v4_of(i->ifa_broadaddr);
}

static bool is_used(const struct announce *a, const struct ifaddrs *i)
{
    bool is_loopback = (i->ifa_flags & IFF_LOOPBACK) != 0;

    return i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET &&
           (i->ifa_flags & IFF_UP) != 0 && (is_loopback || !a->is_local);
}

static void say_on(const struct announce *a, const struct ifaddrs *i,
                   struct slice datagram)
{
    struct in_addr own = v4_of(i->ifa_addr), group = {htonl(GROUP)};

    join(a->config.socket, own);
    if (setsockopt(a->config.socket, IPPROTO_IP, IP_MULTICAST_IF, &own,
                   sizeof(own)) == 0)
        send_to(a, datagram, group);
    if ((i->ifa_flags & (IFF_LOOPBACK | IFF_BROADCAST)) != 0)
        send_to(a, datagram, broadcast_of(i));
}

static void say(struct announce *a)
{
    struct slice datagram = a->config.make(a->config.arg);
    struct ifaddrs *all, *i;

    if (datagram.len == 0 || getifaddrs(&all) < 0)
        return;
    for (i = all; i != NULL; i = i->ifa_next)
        if (is_used(a, i))
            say_on(a, i, datagram);
    freeifaddrs(all);
}

static void on_timer(struct timer *t)
{
    struct announce *a = list_entry(t, struct announce, timer);
    uint32_t most = a->config.is_lonely(a->config.arg) ? LONELY : RARELY;

    sd_check(a, ANNOUNCE_MAGIC);
    say(a);
    a->wait = a->wait * 2 < most ? a->wait * 2 : most;
    timer_start(a->config.loop, t, a->wait);
}

/* --- hearing -------------------------------------------------------------- */

static void on_readable(void *arg)
{
    struct announce *a = arg;
    char bytes[DATAGRAM_MAX];
    unsigned i;

    sd_check(a, ANNOUNCE_MAGIC);
    for (i = 0; i < HEARD_MAX; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(a->config.socket, bytes, sizeof(bytes),
                             MSG_DONTWAIT, (struct sockaddr *)&from, &len);

        if (n < 0)
            return;
        a->config.on_heard(a->config.arg, slice_make(bytes, (size_t)n),
                           (struct sockaddr *)&from);
    }
}

int announce_open(struct announce **out, const struct announce_config *config)
{
    struct announce *a = mem_zalloc(sizeof(*a));
    struct sockaddr_in bound = {0};
    socklen_t len = sizeof(bound);
    int err = 0;

    a->magic = ANNOUNCE_MAGIC;
    a->config = *config;
    a->timer.fn = on_timer;
    a->wait = AT_FIRST / 2;
    if (getsockname(config->socket, (struct sockaddr *)&bound, &len) < 0)
        err = -errno;
    a->port = ntohs(bound.sin_port);
    a->is_local = bound.sin_addr.s_addr != htonl(INADDR_ANY);
    if (err == 0)
        err = pollfd_open(&a->watch, config->loop, config->socket, on_readable,
                          a);
    if (err < 0) {
        announce_close(&a);
        return err;
    }
    timer_start(config->loop, &a->timer, 1);
    *out = a;
    return 0;
}

void announce_close(struct announce **ap)
{
    struct announce *a = *ap;

    if (a == NULL)
        return;
    sd_check(a, ANNOUNCE_MAGIC);
    timer_stop(a->config.loop, &a->timer);
    pollfd_close(&a->watch);
    a->magic = 0;
    mem_free(a);
    *ap = NULL;
}
