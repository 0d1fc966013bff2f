/* announce.h - "here I am", said to the local network.
 *
 * By multicast and by broadcast, out of every interface, soon and often while
 * nobody is known, then now and then.  What is said is sealed by the caller;
 * who hears it asks its sender, at the address it names, whether it is there.
 * IPv4 only: where there is none, members are found by seeds. */
#ifndef SD_CLUSTER_ANNOUNCE_H
#define SD_CLUSTER_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cluster/gossip_member.h"
#include "loop/loop.h"

/* What one says. */
struct announce_text {
    uint64_t boot;
    struct gossip_address address;
};

void announce_write(const struct announce_text *text, struct buf *out);
int announce_read(struct announce_text *out,
                  struct slice bytes); /* or EPROTO */

struct announce;

struct announce_config {
    struct loop *loop;
    int socket; /* of announce_socket(), borrowed */
    /* The datagram to be sent now, borrowed; empty: none. */
    struct slice (*make)(void *arg);
    bool (*is_lonely)(void *arg);
    void (*on_heard)(void *arg, struct slice datagram,
                     const struct sockaddr *from);
    void *arg;
};

/* The socket that hears announcements at `port`, which all agents of a host
 * share; on loopback only when `is_local`.  Or -errno. */
int announce_socket(uint16_t port, bool is_local);

int announce_open(struct announce **out, const struct announce_config *config);
void announce_close(struct announce **ap);

#endif
