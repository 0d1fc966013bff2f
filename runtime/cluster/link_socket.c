/* link_socket.c - see link_socket.h. */
#include "cluster/link_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    USER_TIMEOUT = 7000 /* ms that sent bytes may stay unacknowledged */
};

int link_socket_tune(int fd)
{
    unsigned wait = USER_TIMEOUT;
    int on = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &wait, sizeof(wait)) < 0)
        return -errno;
    return 0;
}

union peer {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union peer peer_of(int fd)
{
    union peer a = {0};
    socklen_t len = sizeof(a);

    if (getpeername(fd, &a.any, &len) < 0)
        a.any.sa_family = AF_UNSPEC;
    return a;
}

void link_socket_name(char *out, int fd)
{
    union peer a = peer_of(fd);
    char ip[INET6_ADDRSTRLEN] = "?";

    if (a.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a.v6.sin6_addr, ip, sizeof(ip));
        snprintf(out, LINK_SOCKET_NAME, "[%s]:%u", ip, ntohs(a.v6.sin6_port));
        return;
    }
    inet_ntop(AF_INET, &a.v4.sin_addr, ip, sizeof(ip));
    snprintf(out, LINK_SOCKET_NAME, "%s:%u", ip, ntohs(a.v4.sin_port));
}

/* An IPv4 address on an IPv6 socket has it in its last four bytes. */
uint64_t link_socket_origin(int fd)
{
    union peer a = peer_of(fd);
    uint64_t net = 0;

    if (a.any.sa_family != AF_INET6)
        return a.v4.sin_addr.s_addr;
    if (IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr))
        memcpy(&net, &a.v6.sin6_addr.s6_addr[12], 4);
    else
        memcpy(&net, &a.v6.sin6_addr, sizeof(net));
    return net;
}
