/* netmove.h - moves conns between two nets of a process at random moments. */
#ifndef SPEC_NETMOVE_H
#define SPEC_NETMOVE_H

#include <stdint.h>

struct loop;
struct net;

/* Every `ms` each conn of both nets that may move does so in one of two cases:
 * through a socket, as it does between processes. */
void netmove_open(struct loop *loop, struct net *a, struct net *b, uint64_t ms);
void netmove_close(void);

#endif
