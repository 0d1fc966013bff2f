/* own_address.h - which address of ours others can reach us at. */
#ifndef SD_CLUSTER_OWN_ADDRESS_H
#define SD_CLUSTER_OWN_ADDRESS_H

#include "cluster/gossip_member.h"

/* What to tell others of a socket bound to `bound`: that address; where it
 * means every one, that of the interface which leads out, else the first that
 * is no loopback, else loopback.  `advertise` ("host:port" in numbers, NULL:
 * none) is told instead; its port 0 means the bound one.  0 or SD_EINVALID:
 * `advertise` is none. */
int own_address(struct gossip_address *out, const struct gossip_address *bound,
                const char *advertise);

#endif
