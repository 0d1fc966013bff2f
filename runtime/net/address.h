/* address.h - what counts as one address.  Pure.
 *
 * An IPv4 address counts by itself, an IPv6 address with its /64: one client
 * has as many of those as it likes. */
#ifndef SD_NET_ADDRESS_H
#define SD_NET_ADDRESS_H

#include <stdbool.h>

enum {
    ADDRESS_NAME = 11
};

/* The bytes, the same for all addresses that count as one at a port, of an
 * address of 4 bytes or, `is_6`, 16. */
void address_name(char *out, unsigned port, const unsigned char *ip, bool is_6);

#endif
