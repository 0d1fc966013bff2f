/* sock.c - see sock.h. */
#include "common/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/util.h"

#define BACKLOG 4096
#define SOURCES 32

void sock_set_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        util_die("fcntl: %s", strerror(errno));
}

void sock_set_nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int sock_listen(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof(a);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)*port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, size) < 0 ||
        listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &size) < 0)
        util_die("cannot listen on port %d: %s", *port, strerror(errno));
    *port = ntohs(a.sin_port);
    return fd;
}

/* The port is chosen at connect, not at bind, so that one source port serves
 * several destinations. */
static void bind_source(int fd, int spread)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int one = 1;

    a.sin_addr.s_addr = htonl(0x7f000101U + (uint32_t)(spread % SOURCES));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        util_die("bind: %s", strerror(errno));
}

int sock_connect(const char *address, int port, int spread)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        util_die("socket: %s", strerror(errno));
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
        util_die("\"%s\" is not an IPv4 address", address);
    a.sin_port = htons((uint16_t)port);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (spread >= 0)
        bind_source(fd, spread);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        util_die("connect to %s:%d: %s", address, port, strerror(errno));
    sock_set_nodelay(fd);
    return fd;
}
