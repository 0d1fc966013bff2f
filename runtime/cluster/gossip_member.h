/* gossip_member.h - what members of a cluster know of each other.
 *
 * A member is one boot of one name: a restarted node is another member of the
 * same name. */
#ifndef SD_CLUSTER_GOSSIP_MEMBER_H
#define SD_CLUSTER_GOSSIP_MEMBER_H

#include <stdint.h>

#include "base/slice.h"

enum {
    GOSSIP_NAME = 64,     /* bytes of a name, at most; one at least */
    GOSSIP_META = 400,    /* bytes of what an owner says about itself */
    GOSSIP_KINDS = 15,    /* kinds are 1 .. 15 */
    GOSSIP_MEMBERS = 4096 /* in one table, tombstones included */
};

/* A way to a member.  IPv4 is written ::ffff:a.b.c.d, so that one address has
 * one form. */
struct gossip_address {
    unsigned char ip[16];
    uint16_t port;
};

enum gossip_kind {
    GOSSIP_NODE = 1,
    GOSSIP_DISPATCH
};

enum gossip_state {
    GOSSIP_ALIVE,
    GOSSIP_SUSPECT, /* did not answer somebody; still counts as alive */
    GOSSIP_DEAD,
    GOSSIP_LEFT /* said goodbye */
};

struct gossip_member {
    struct slice name;
    struct slice meta;
    uint64_t boot;
    uint64_t incarnation; /* raised by the member alone */
    struct gossip_address address;
    uint8_t kind;
    uint8_t state; /* enum gossip_state */
};

#endif
