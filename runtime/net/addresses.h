/* addresses.h - how many conns each address has.  Pure.
 *
 * An IPv4 address counts by itself, an IPv6 address with its /64: one client
 * has as many of those as it likes. */
#ifndef SD_NET_ADDRESSES_H
#define SD_NET_ADDRESSES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/table.h"

struct address; /* one that has conns */

/* Embedded, opened by addresses_init(). */
struct addresses {
    struct hash_key key;
    struct table table;
};

void addresses_init(struct addresses *a);
void addresses_fini(struct addresses *a); /* all were given back */

/* One more conn of the address, 4 bytes or, `is_6`, 16; NULL: it has `max`. */
struct address *addresses_take(struct addresses *a, const unsigned char *ip,
                               bool is_6, unsigned max);

/* One less. */
void addresses_give(struct addresses *a, struct address *one);

#endif
