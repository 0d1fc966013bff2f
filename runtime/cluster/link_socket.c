/* link_socket.c - see link_socket.h. */
#include "cluster/link_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
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

void link_socket_name(char *out, int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {0};
    socklen_t len = sizeof(a);
    char ip[INET6_ADDRSTRLEN] = "?";

    if (getpeername(fd, &a.any, &len) == 0 && a.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a.v6.sin6_addr, ip, sizeof(ip));
        snprintf(out, LINK_SOCKET_NAME, "[%s]:%u", ip, ntohs(a.v6.sin6_port));
        return;
    }
    inet_ntop(AF_INET, &a.v4.sin_addr, ip, sizeof(ip));
    snprintf(out, LINK_SOCKET_NAME, "%s:%u", ip, ntohs(a.v4.sin_port));
}
