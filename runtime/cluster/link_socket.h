/* link_socket.h - the socket below a link. */
#ifndef SD_CLUSTER_LINK_SOCKET_H
#define SD_CLUSTER_LINK_SOCKET_H

#include <stdint.h>

enum {
    LINK_SOCKET_NAME = 64
};

/* Small frames leave at once, and a peer that has gone without a word is
 * noticed.  0 or -errno. */
int link_socket_tune(int fd);

/* Who is at the other end: "10.77.0.2:41234", "[::1]:41234". */
void link_socket_name(char *out, int fd);

/* A number for its address: of IPv6 for its network (/64), which one machine
 * may have all of. */
uint64_t link_socket_origin(int fd);

#endif
