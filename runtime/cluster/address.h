/* address.h - addresses of a cluster as text and as the kernel has them.  Of
 * numbers only: names are looked up elsewhere. */
#ifndef SD_CLUSTER_ADDRESS_H
#define SD_CLUSTER_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/slice.h"
#include "cluster/gossip_member.h"

enum {
    ADDRESS_TEXT = 64 /* "[...]:65535" with NUL */
};

/* "10.0.0.1:7946", "[::1]:7946".  0 or SD_EINVALID. */
int address_read(struct gossip_address *out, struct slice text);
void address_write(char *out, const struct gossip_address *a);

/* The host alone, as dial_open() wants it. */
void address_write_host(char *out, const struct gossip_address *a);

/* False: of another family. */
bool address_from(struct gossip_address *out, const struct sockaddr *a);

/* As a socket of this family sends to it: its length; 0: it cannot. */
socklen_t address_to(struct sockaddr_storage *out,
                     const struct gossip_address *a, int family);

bool address_is_v4(const struct gossip_address *a);
bool address_is_any(const struct gossip_address *a); /* 0.0.0.0, :: */
bool address_is_loopback(const struct gossip_address *a);

#endif
