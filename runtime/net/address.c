/* address.c - see address.h.
 *
 * A name is the port, the family and the bytes that count.  An IPv4 address
 * inside an IPv6 one, as a socket on [::] sees them, is the same as by
 * itself. */
#include "net/address.h"

#include <string.h>

static bool is_mapped(const unsigned char *ip)
{
    static const unsigned char prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

void address_name(char *out, unsigned port, const unsigned char *ip, bool is_6)
{
    memset(out, 0, ADDRESS_NAME);
    out[0] = (char)(port >> 8);
    out[1] = (char)port;
    if (is_6 && !is_mapped(ip)) {
        out[2] = 6;
        memcpy(out + 3, ip, 8);
    } else {
        out[2] = 4;
        memcpy(out + 3, is_6 ? ip + 12 : ip, 4);
    }
}
