/* gossip_msg.c - see gossip_msg.h.
 *
 * Reading goes through a cursor that turns bad once and stays so: fields are
 * taken one after the other without a question, and the verdict is asked for
 * once, at the end.  Numbers are little-endian; incarnations are written in
 * groups of seven bits, because they are small.
 *
 * Of one update there is one encoding: a reader refuses groups that add
 * nothing and flags that say nothing, so a packet that was read can be
 * written again to the same bytes, which is what its fuzz target checks. */
#include "cluster/gossip_msg.h"

#include "base/assert.h"
#include "base/err.h"

enum {
    STATE_BITS = 3,     /* of an update's first byte: the state */
    FULL = 4,           /* everything follows */
    IPV4 = 8,           /* its address has four bytes */
    ACCUSERS_SHIFT = 4, /* two bits: how many */
    KNOWN_BITS = 0x3f,  /* all that this version uses */
    HEAD = 32,          /* bytes of a packet's head */
    UPDATE_MAX = 1 + 8 + 7 + 7 + 1 + 18 + 1 + GOSSIP_NAME + 2 + GOSSIP_META
};

static const unsigned char mapped[12] = {0, 0, 0, 0, 0,   0,
                                         0, 0, 0, 0, 255, 255};

/* --- addresses and names -------------------------------------------------- */

static bool is_ipv4(const struct gossip_address *a)
{
    return memcmp(a->ip, mapped, sizeof(mapped)) == 0;
}

bool gossip_address_is_sound(const struct gossip_address *a)
{
    unsigned i = is_ipv4(a) ? sizeof(mapped) : 0;

    while (i < sizeof(a->ip) && a->ip[i] == 0)
        i++;
    return a->port != 0 && i < sizeof(a->ip);
}

bool gossip_address_eq(const struct gossip_address *a,
                       const struct gossip_address *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool gossip_name_is_sound(struct slice name)
{
    size_t i;

    for (i = 0; i < name.len; i++) {
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == 127)
            return false;
    }
    return name.len >= 1 && name.len <= GOSSIP_NAME;
}

/* --- writing -------------------------------------------------------------- */

static char *put(char *p, uint64_t x, int bytes)
{
    int i;

    for (i = 0; i < bytes; i++)
        p[i] = (char)(x >> (8 * i) & 0xff);
    return p + bytes;
}

static char *put_bytes(char *p, const void *bytes, size_t n)
{
    if (n > 0)
        memcpy(p, bytes, n);
    return p + n;
}

static char *put_groups(char *p, uint64_t x)
{
    for (; x > 127; x >>= 7)
        *p++ = (char)((x & 127) | 128);
    *p++ = (char)x;
    return p;
}

static char *put_address(char *p, const struct gossip_address *a)
{
    return put(put_bytes(p, a->ip, sizeof(a->ip)), a->port, 2);
}

static char *put_digest(char *p, const uint32_t *digest)
{
    unsigned i;

    for (i = 0; i < GOSSIP_BUCKETS; i++)
        p = put(p, digest[i], 4);
    return p;
}

static char *put_body(char *p, const struct gossip_packet *q)
{
    switch (q->type) {
    case GOSSIP_PING:
    case GOSSIP_ACK:
    case GOSSIP_PROXY:
        return put(put(p, q->nonce, 8), q->subject, 8);
    case GOSSIP_NACK:
        return put(p, q->nonce, 8);
    case GOSSIP_ASK:
    case GOSSIP_HELLO:
        p = put(put(p, q->nonce, 8), q->subject, 8);
        return put_digest(p, q->digest);
    case GOSSIP_STATE:
        p = put(put(p, q->nonce, 8), q->mask, 4);
        return put(p, q->wants, 1);
    case GOSSIP_NEWS:
        break;
    }
    return p;
}

size_t gossip_msg_begin(char *out, const struct gossip_packet *p)
{
    char *at = out;

    at = put(at, GOSSIP_VERSION, 1);
    at = put(at, p->type, 1);
    at = put(at, p->boot, 8);
    at = put_address(at, &p->from);
    at = put(at, p->age_ms, 4);
    sd_assert(at == out + HEAD);
    return (size_t)(put_body(at, p) - out);
}

static unsigned flags_of(const struct gossip_update *u)
{
    unsigned flags = u->state;

    if (u->is_full)
        flags |= FULL | (is_ipv4(&u->address) ? IPV4 : 0);
    if (u->state == GOSSIP_SUSPECT)
        flags |= u->naccusers << ACCUSERS_SHIFT;
    return flags;
}

static char *put_content(char *p, const struct gossip_update *u)
{
    unsigned from = is_ipv4(&u->address) ? sizeof(mapped) : 0;

    p = put(p, u->kind, 1);
    p = put_bytes(p, u->address.ip + from, sizeof(u->address.ip) - from);
    p = put(p, u->address.port, 2);
    p = put(p, u->name.len, 1);
    p = put_bytes(p, u->name.p, u->name.len);
    p = put(p, u->meta.len, 2);
    return put_bytes(p, u->meta.p, u->meta.len);
}

size_t gossip_msg_add(char *out, size_t len, const struct gossip_update *u)
{
    char bytes[UPDATE_MAX], *p = bytes;
    unsigned i;
    size_t n;

    sd_assert(u->incarnation < GOSSIP_INCARNATIONS);
    sd_assert(!u->is_full || u->state == GOSSIP_ALIVE);
    p = put(p, flags_of(u), 1);
    p = put(p, u->boot, 8);
    p = put_groups(p, u->incarnation);
    if (u->state == GOSSIP_ALIVE)
        p = put_groups(p, u->incarnation - u->edition);
    for (i = 0; u->state == GOSSIP_SUSPECT && i < u->naccusers; i++)
        p = put(p, u->accusers[i], 4);
    if (u->is_full)
        p = put_content(p, u);
    n = (size_t)(p - bytes);
    if (len + n > GOSSIP_PACKET)
        return len;
    memcpy(out + len, bytes, n);
    return len + n;
}

/* --- reading -------------------------------------------------------------- */

struct cursor {
    struct slice rest;
    bool is_bad;
};

static struct slice take(struct cursor *c, size_t n)
{
    struct slice bytes = slice_make(c->rest.p, n);

    if (n > c->rest.len)
        c->is_bad = true;
    if (c->is_bad)
        return slice_make("", 0);
    c->rest = slice_skip(c->rest, n);
    return bytes;
}

static uint64_t get(struct cursor *c, size_t bytes)
{
    struct slice s = take(c, bytes);
    uint64_t x = 0;

    while (s.len-- > 0)
        x = x << 8 | (unsigned char)s.p[s.len];
    return x;
}

static uint64_t get_groups(struct cursor *c)
{
    uint64_t x = 0, byte = 128;
    unsigned shift;

    for (shift = 0; (byte & 128) != 0 && shift < 49; shift += 7) {
        byte = get(c, 1);
        x |= (byte & 127) << shift;
    }
    if ((byte & 128) != 0 || (byte == 0 && shift > 7) ||
        x >= GOSSIP_INCARNATIONS)
        c->is_bad = true;
    return x;
}

static void get_address(struct cursor *c, struct gossip_address *a, bool ipv4)
{
    size_t known = ipv4 ? sizeof(mapped) : 0;
    struct slice ip = take(c, sizeof(a->ip) - known);

    *a = (struct gossip_address){0};
    memcpy(a->ip, mapped, known);
    memcpy(a->ip + known, ip.p, ip.len);
    a->port = (uint16_t)get(c, 2);
    if (!gossip_address_is_sound(a))
        c->is_bad = true;
}

static void get_digest(struct cursor *c, uint32_t *digest)
{
    unsigned i;

    for (i = 0; i < GOSSIP_BUCKETS; i++)
        digest[i] = (uint32_t)get(c, 4);
}

/* What its type says; true when updates may follow. */
static bool get_body(struct cursor *c, struct gossip_packet *p)
{
    uint64_t wants = 0;

    if (p->type != GOSSIP_NEWS)
        p->nonce = get(c, 8);
    switch (p->type) {
    case GOSSIP_PING:
    case GOSSIP_ACK:
    case GOSSIP_PROXY:
        p->subject = get(c, 8);
        return true;
    case GOSSIP_ASK:
    case GOSSIP_HELLO:
        p->subject = get(c, 8);
        get_digest(c, p->digest);
        return false;
    case GOSSIP_STATE:
        p->mask = (uint32_t)get(c, 4);
        wants = get(c, 1);
        p->wants = wants == 1;
        c->is_bad = c->is_bad || wants > 1;
        return true;
    case GOSSIP_NEWS:
        return true;
    case GOSSIP_NACK:
        break;
    }
    return false;
}

static void get_content(struct cursor *c, struct gossip_update *u, bool ipv4)
{
    u->kind = (uint8_t)get(c, 1);
    get_address(c, &u->address, ipv4);
    u->name = take(c, get(c, 1));
    u->meta = take(c, get(c, 2));
    if (u->kind < 1 || u->kind > GOSSIP_KINDS ||
        !gossip_name_is_sound(u->name) || u->meta.len > GOSSIP_META ||
        ipv4 != is_ipv4(&u->address))
        c->is_bad = true;
}

static void get_update(struct cursor *c, struct gossip_update *u)
{
    unsigned flags = (unsigned)get(c, 1), i;
    uint64_t behind;

    *u = (struct gossip_update){.name = {"", 0}, .meta = {"", 0}};
    u->state = flags & STATE_BITS;
    u->is_full = (flags & FULL) != 0;
    u->naccusers = flags >> ACCUSERS_SHIFT & 3;
    u->boot = get(c, 8);
    u->incarnation = get_groups(c);
    if (u->boot == 0 || (flags & ~(unsigned)KNOWN_BITS) != 0 ||
        (u->is_full && u->state != GOSSIP_ALIVE) ||
        (!u->is_full && (flags & IPV4) != 0) ||
        (u->naccusers > 0 && u->state != GOSSIP_SUSPECT))
        c->is_bad = true;
    if (u->state == GOSSIP_ALIVE) {
        behind = get_groups(c);
        c->is_bad = c->is_bad || behind > u->incarnation;
        u->edition = u->incarnation - behind;
    }
    for (i = 0; i < u->naccusers; i++)
        u->accusers[i] = (uint32_t)get(c, 4);
    if (u->is_full)
        get_content(c, u, (flags & IPV4) != 0);
}

int gossip_msg_read(struct gossip_packet *p, struct slice bytes)
{
    struct cursor c = {bytes, false};
    struct gossip_update u;
    uint64_t type;

    if (bytes.len > GOSSIP_PACKET || get(&c, 1) != GOSSIP_VERSION)
        return SD_EPROTO;
    type = get(&c, 1);
    if (type < GOSSIP_PING || type > GOSSIP_STATE)
        return SD_EPROTO;
    *p = (struct gossip_packet){.type = (enum gossip_type)type};
    p->boot = get(&c, 8);
    get_address(&c, &p->from, false);
    p->age_ms = (uint32_t)get(&c, 4);
    if (p->boot == 0)
        return SD_EPROTO;
    if (!get_body(&c, p) && c.rest.len > 0)
        return SD_EPROTO;
    p->updates = c.rest;
    while (!c.is_bad && c.rest.len > 0)
        get_update(&c, &u);
    return c.is_bad ? SD_EPROTO : 0;
}

bool gossip_msg_next(struct slice *rest, struct gossip_update *u)
{
    struct cursor c = {*rest, false};

    if (rest->len == 0)
        return false;
    get_update(&c, u);
    sd_assert(!c.is_bad);
    *rest = c.rest;
    return true;
}
