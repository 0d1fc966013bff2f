/* own_address.c - see own_address.h. */
#include "cluster/own_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cluster/address.h"

/* Nothing is sent: connecting a datagram socket only asks the kernel for the
 * way.  The destination is one that no network has (documentation's). */
static bool leading_out(struct gossip_address *out)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof(own);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done;

    if (fd < 0)
        return false;
    to.sin_addr.s_addr = htonl(0xc6336401); /* 198.51.100.1 */
    done = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
           getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
           address_from(out, (struct sockaddr *)&own) && !address_is_any(out);
    close(fd);
    return done;
}

static bool is_outward(const struct ifaddrs *i, struct gossip_address *out)
{
    return i->ifa_addr != NULL && (i->ifa_flags & IFF_UP) != 0 &&
           (i->ifa_flags & IFF_LOOPBACK) == 0 &&
           address_from(out, i->ifa_addr) &&
           !(out->ip[0] == 0xfe && (out->ip[1] & 0xc0) == 0x80);
}

static void first_outward(struct gossip_address *out)
{
    struct ifaddrs *all = NULL, *i;
    bool found = false;

    if (getifaddrs(&all) == 0) {
        for (i = all; i != NULL && !found; i = i->ifa_next)
            found = is_outward(i, out);
        freeifaddrs(all);
    }
    if (!found)
        (void)address_read(out, slice_str("127.0.0.1:0"));
}

int own_address(struct gossip_address *out, const struct gossip_address *bound,
                const char *advertise)
{
    if (advertise != NULL) {
        if (address_read(out, slice_str(advertise)) < 0)
            return SD_EINVALID;
        if (out->port == 0)
            out->port = bound->port;
        return 0;
    }
    *out = *bound;
    if (address_is_any(bound) && !leading_out(out))
        first_outward(out);
    out->port = bound->port;
    return 0;
}
