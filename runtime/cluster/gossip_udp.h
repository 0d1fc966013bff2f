/* gossip_udp.h - membership on the network: the sockets, clock and keys of
 * cluster/gossip.h.  One per agent. */
#ifndef SD_CLUSTER_GOSSIP_UDP_H
#define SD_CLUSTER_GOSSIP_UDP_H

#include <stdint.h>

#include "base/conf.h"
#include "cluster/gossip.h"
#include "loop/loop.h"

struct gossip_udp;

struct gossip_udp_config {
    struct loop *loop;
    const struct conf *conf; /* until open returns, and gossip_udp_take() */
    int socket;              /* what membership is spoken on, borrowed */
    int announce; /* what announcements come to, borrowed; -1: none */
    struct gossip_self self; /* with the address that others are told */
    /* Something has changed; gossip_udp_look() says what there is. */
    void (*on_change)(void *arg, const struct gossip_member *m,
                      enum gossip_event what);
    /* A member has said something that is no gossip (cluster/roll_msg.h).
     * 0; SD_EPROTO: of another version, or none. */
    int (*on_roll)(void *arg, struct slice bytes);
    void *arg;
};

/* 0; SD_EINVALID: a key that is none, with a constant text in *why; or a code
 * of the system. */
int gossip_udp_open(struct gossip_udp **out,
                    const struct gossip_udp_config *config, const char **why);
void gossip_udp_close(struct gossip_udp **up);

/* Another configuration: its keys and seeds.  As open; else all stays. */
int gossip_udp_take(struct gossip_udp *u, const struct conf *conf,
                    const char **why);

int gossip_udp_set_meta(struct gossip_udp *u, struct slice meta);
void gossip_udp_leave(struct gossip_udp *u);
void gossip_udp_vouch(struct gossip_udp *u, uint64_t boot, uint64_t age);
void gossip_udp_vouch_end(struct gossip_udp *u);

/* Say it to a member that is known; it may be lost on the way. */
void gossip_udp_send(struct gossip_udp *u, uint64_t boot, struct slice bytes);

const struct gossip *gossip_udp_look(const struct gossip_udp *u);
const struct seal *gossip_udp_seal(const struct gossip_udp *u);

#endif
