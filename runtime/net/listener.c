/* listener.c - see listener.h.
 *
 * A socket with SO_REUSEPORT binds beside others of the same user that have
 * it too, so it cannot notice that a port is taken.  The first slot's socket
 * therefore binds and listens without it, and gets the option afterwards,
 * before the other slots bind beside it. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"

enum {
    BACKLOG = 4096,
    KEEP_IDLE = 60, /* seconds without a byte until the peer is asked */
    KEEP_INTERVAL = 15,
    KEEP_COUNT = 4 /* questions without an answer: it is gone */
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t length_of(const union address *a)
{
    return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

unsigned listener_port(const char *address)
{
    const char *colon = strrchr(address, ':');
    char *end;
    unsigned long port;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9')
        return 0;
    port = strtoul(colon + 1, &end, 10);
    return *end == '\0' && port < 65536 ? (unsigned)port : 0;
}

/* "host:port" or "[v6]:port" apart; false: neither. */
static bool split(const char *listen, char host[256], char port[8])
{
    const char *colon = strrchr(listen, ':');
    size_t n;

    if (colon == NULL || strlen(colon + 1) == 0 || strlen(colon + 1) > 5 ||
        colon[1 + strspn(colon + 1, "0123456789")] != '\0')
        return false;
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    if (strtoul(port, NULL, 10) > 65535)
        return false;
    n = (size_t)(colon - listen);
    if (n >= 2 && listen[0] == '[' && listen[n - 1] == ']') {
        listen++;
        n -= 2;
    } else if (memchr(listen, ':', n) != NULL) {
        return false;
    }
    if (n >= 256)
        return false;
    memcpy(host, listen, n);
    host[n] = '\0';
    return true;
}

static int resolve(union address *out, const char *listen, char *why,
                   size_t why_size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    char host[256], port[8];
    int err;

    if (!split(listen, host, port)) {
        snprintf(why, why_size, "\"%s\" is no address:port", listen);
        return SD_EINVALID;
    }
    hints.ai_family = strchr(host, ':') != NULL ? AF_INET6 : AF_UNSPEC;
    if (host[0] == '\0' || strcmp(host, "*") == 0)
        memcpy(host, "0.0.0.0", sizeof("0.0.0.0"));
    err = getaddrinfo(host, port, &hints, &list);
    if (err != 0) {
        snprintf(why, why_size, "%s: %s", listen, gai_strerror(err));
        return SD_EINVALID;
    }
    memcpy(out, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

static void set(int fd, int level, int option, int value)
{
    /* Options that only tune: an old kernel without one serves as well. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* One listening socket; conns inherit its TCP options. */
static int open_one(const union address *a, bool shared)
{
    int one = 1, err;
    int fd =
        socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    /* A peer that has vanished is noticed also when nobody sends. */
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
    if (a->any.sa_family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY,
            !IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr));
    if (shared &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
        goto fail;
    if (bind(fd, &a->any, length_of(a)) < 0 || listen(fd, BACKLOG) < 0)
        goto fail;
    if (!shared &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
        goto fail;
    return fd;

fail:
    err = -errno;
    close(fd);
    return err;
}

static void write_address(char *out, const union address *a)
{
    char text[INET6_ADDRSTRLEN];

    if (a->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->v6.sin6_addr, text, sizeof(text));
        snprintf(out, LISTENER_ADDRESS, "[%s]:%u", text,
                 ntohs(a->v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &a->v4.sin_addr, text, sizeof(text));
        snprintf(out, LISTENER_ADDRESS, "%s:%u", text, ntohs(a->v4.sin_port));
    }
}

int listener_open(int *fds, unsigned n, const char *listen, char *address,
                  char *why, size_t why_size)
{
    union address a;
    socklen_t len = sizeof(a);
    unsigned done = 0;
    int probe = -1, err;

    sd_assert(n > 0);
    memset(&a, 0, sizeof(a));
    err = resolve(&a, listen, why, why_size);
    if (err < 0)
        return err;
    probe = open_one(&a, false);
    if (probe < 0) {
        err = probe;
        goto fail;
    }
    getsockname(probe, &a.any, &len);
    for (done = 0; done < n; done++) {
        fds[done] = open_one(&a, true);
        if (fds[done] < 0) {
            err = fds[done];
            goto fail;
        }
    }
    close(probe);
    write_address(address, &a);
    return 0;

fail:
    if (err == -EADDRINUSE)
        snprintf(why, why_size, "%s is taken by another program", listen);
    else
        snprintf(why, why_size, "cannot listen on %s: %s", listen,
                 strerror(-err));
    if (probe >= 0)
        close(probe);
    while (done > 0)
        close(fds[--done]);
    return err;
}
