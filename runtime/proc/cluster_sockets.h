/* cluster_sockets.h - the sockets of membership and of relays: the master's,
 * so that they outlive the processes that use them. */
#ifndef SD_PROC_CLUSTER_SOCKETS_H
#define SD_PROC_CLUSTER_SOCKETS_H

#include <stddef.h>

#include "base/conf.h"
#include "cluster/gossip_member.h"
#include "proc/heritage.h"

struct cluster_sockets {
    int gossip, announce;       /* -1: none */
    struct gossip_address told; /* where membership is reached */
    unsigned nrelays;
    int relay[HERITAGE_RELAYS];
    uint16_t relay_port[HERITAGE_RELAYS];
};

/* What the configuration wants, with as many relays.  0, or a negative code
 * with one line in `why`.  cluster_sockets_close() follows either way. */
int cluster_sockets_open(struct cluster_sockets *s, const struct conf *conf,
                         unsigned relays, char *why, size_t size);
void cluster_sockets_close(struct cluster_sockets *s);

void cluster_sockets_bequeath(const struct cluster_sockets *s,
                              struct heritage *h);

#endif
