/* address.c - see address.h. */
#include "cluster/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static const unsigned char v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

static int read_port(uint16_t *out, const char *text)
{
    unsigned n = 0, digits = 0;

    for (; *text >= '0' && *text <= '9' && digits < 6; text++, digits++)
        n = n * 10 + (unsigned)(*text - '0');
    if (digits == 0 || *text != '\0' || n > 65535)
        return SD_EINVALID;
    *out = (uint16_t)n;
    return 0;
}

static int read_v6(struct gossip_address *out, char *host)
{
    char *end = strchr(host, ']');

    if (end == NULL || end[1] != ':')
        return SD_EINVALID;
    *end = '\0';
    if (inet_pton(AF_INET6, host, out->ip) != 1)
        return SD_EINVALID;
    return read_port(&out->port, end + 2);
}

int address_read(struct gossip_address *out, struct slice text)
{
    char host[ADDRESS_TEXT], *colon;

    if (text.len >= sizeof(host) || memchr(text.p, '\0', text.len) != NULL)
        return SD_EINVALID;
    memcpy(host, text.p, text.len);
    host[text.len] = '\0';
    if (host[0] == '[')
        return read_v6(out, host + 1);
    colon = strchr(host, ':');
    if (colon == NULL)
        return SD_EINVALID;
    *colon = '\0';
    memcpy(out->ip, v4_prefix, sizeof(v4_prefix));
    if (inet_pton(AF_INET, host, out->ip + sizeof(v4_prefix)) != 1)
        return SD_EINVALID;
    return read_port(&out->port, colon + 1);
}

void address_write_host(char *out, const struct gossip_address *a)
{
    if (address_is_v4(a))
        inet_ntop(AF_INET, a->ip + sizeof(v4_prefix), out, ADDRESS_TEXT);
    else
        inet_ntop(AF_INET6, a->ip, out, ADDRESS_TEXT);
}

void address_write(char *out, const struct gossip_address *a)
{
    char host[ADDRESS_TEXT];

    address_write_host(host, a);
    snprintf(out, ADDRESS_TEXT, address_is_v4(a) ? "%.45s:%u" : "[%.45s]:%u",
             host, a->port);
}

bool address_from(struct gossip_address *out, const struct sockaddr *a)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (a->sa_family == AF_INET) {
        memcpy(&v4, a, sizeof(v4));
        memcpy(out->ip, v4_prefix, sizeof(v4_prefix));
        memcpy(out->ip + sizeof(v4_prefix), &v4.sin_addr, 4);
        out->port = ntohs(v4.sin_port);
        return true;
    }
    if (a->sa_family != AF_INET6)
        return false;
    memcpy(&v6, a, sizeof(v6));
    memcpy(out->ip, &v6.sin6_addr, sizeof(out->ip));
    out->port = ntohs(v6.sin6_port);
    return true;
}

socklen_t address_to(struct sockaddr_storage *out,
                     const struct gossip_address *a, int family)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(a->port)};

    memset(out, 0, sizeof(*out));
    if (family == AF_INET6) {
        memcpy(&v6.sin6_addr, a->ip, sizeof(a->ip));
        memcpy(out, &v6, sizeof(v6));
        return sizeof(v6);
    }
    if (!address_is_v4(a))
        return 0;
    memcpy(&v4.sin_addr, a->ip + sizeof(v4_prefix), 4);
    memcpy(out, &v4, sizeof(v4));
    return sizeof(v4);
}

bool address_is_v4(const struct gossip_address *a)
{
    return memcmp(a->ip, v4_prefix, sizeof(v4_prefix)) == 0;
}

bool address_is_any(const struct gossip_address *a)
{
    static const unsigned char zero[16];

    return memcmp(a->ip, zero, sizeof(zero)) == 0 ||
           (address_is_v4(a) && memcmp(a->ip + 12, zero, 4) == 0);
}

bool address_is_loopback(const struct gossip_address *a)
{
    static const unsigned char one[16] = {[15] = 1};

    return memcmp(a->ip, one, sizeof(one)) == 0 ||
           (address_is_v4(a) && a->ip[12] == 127);
}
