/* wire.c - see wire.h.
 *
 * The layout, little-endian:
 *
 *      0 version   1 slot      2 type      4 flags     6 epoch
 *      8 boot     16 counter  24 ticket (vm, index, generation)
 *     36 life     40 len      44 the body
 *
 * Fields are moved one by one, so neither padding nor the machine's byte order
 * shows on the wire. */
#include "codec/wire.h"

#include <endian.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"

enum { /* where they are in a head */
    WIRE_FLAGS_AT = 4,
    WIRE_LIFE_AT = 36,
    WIRE_LEN_AT = 40
};

static inline __attribute__((always_inline)) char *put(char *p, uint64_t x,
                                                       size_t bytes)
{
    x = htole64(x);
    memcpy(p, &x, bytes);
    return p + bytes;
}

static inline __attribute__((always_inline)) uint64_t get(const char **p,
                                                          size_t bytes)
{
    uint64_t x = 0;

    memcpy(&x, *p, bytes);
    *p += bytes;
    return le64toh(x);
}

void wire_encode(char *out, const struct wire_head *h)
{
    char *p = out;

    sd_assert((h->flags & ~WIRE_FLAGS) == 0 && h->len <= WIRE_BODY_MAX);
    p = put(p, WIRE_VERSION, 1);
    p = put(p, h->slot, 1);
    p = put(p, h->type, 2);
    p = put(p, h->flags, 2);
    p = put(p, h->epoch, 2);
    p = put(p, h->boot, 8);
    p = put(p, h->counter, 8);
    p = put(p, h->ticket.vm, 4);
    p = put(p, h->ticket.index, 4);
    p = put(p, h->ticket.generation, 4);
    p = put(p, h->life_ms, 4);
    p = put(p, h->len, 4);
    sd_assert(p == out + WIRE_HEAD);
}

void wire_set_life(char *head, uint32_t life_ms)
{
    put(head + WIRE_LIFE_AT, life_ms, 4);
}

int wire_write(struct buf *out, const struct wire_head *h, struct slice body)
{
    struct wire_head head = *h;

    if (body.len > WIRE_BODY_MAX)
        return SD_ETOOLARGE;
    head.len = (uint32_t)body.len;
    wire_encode(buf_reserve(out, WIRE_HEAD + body.len), &head);
    buf_commit(out, WIRE_HEAD);
    if ((head.flags & WIRE_FD) == 0)
        buf_append(out, body.p, body.len);
    return 0;
}

/* How many bytes of body follow the head here, or an error. */
static int body_inside(struct slice bytes)
{
    const char *p;
    uint64_t flags, len;

    if (bytes.len > 0 && *bytes.p != WIRE_VERSION)
        return SD_EPROTO;
    if (bytes.len < WIRE_HEAD)
        return SD_EAGAIN;
    p = bytes.p + WIRE_FLAGS_AT;
    flags = get(&p, 2);
    p = bytes.p + WIRE_LEN_AT;
    len = get(&p, 4);
    if ((flags & ~(uint64_t)WIRE_FLAGS) != 0 || len > WIRE_BODY_MAX)
        return SD_EPROTO;
    return (flags & WIRE_FD) != 0 ? 0 : (int)len;
}

/* Into its place at once: the copy of a struct that was just filled field by
 * field waits for all these stores. */
static void read_head(struct wire_head *h, const char *p)
{
    p++;
    h->slot = (uint8_t)get(&p, 1);
    h->type = (uint16_t)get(&p, 2);
    h->flags = (uint16_t)get(&p, 2);
    h->epoch = (uint16_t)get(&p, 2);
    h->boot = get(&p, 8);
    h->counter = get(&p, 8);
    h->ticket.vm = (uint32_t)get(&p, 4);
    h->ticket.index = (uint32_t)get(&p, 4);
    h->ticket.generation = (uint32_t)get(&p, 4);
    h->life_ms = (uint32_t)get(&p, 4);
    h->len = (uint32_t)get(&p, 4);
}

int wire_decode(struct wire_head *h, struct slice bytes)
{
    int inside = body_inside(bytes);

    if (inside < 0)
        return inside;
    read_head(h, bytes.p);
    return 0;
}

int wire_read(struct wire_head *h, struct slice *body, struct slice bytes)
{
    int inside = body_inside(bytes);

    if (inside < 0)
        return inside;
    if (bytes.len - WIRE_HEAD < (size_t)inside)
        return SD_EAGAIN;
    read_head(h, bytes.p);
    *body = slice_make(bytes.p + WIRE_HEAD, (size_t)inside);
    return WIRE_HEAD + inside;
}

bool wire_age(struct wire_head *h, uint64_t waited_ms)
{
    if (h->life_ms == UINT32_MAX)
        return true;
    h->life_ms = waited_ms < h->life_ms ? h->life_ms - (uint32_t)waited_ms : 0;
    return h->life_ms > 0;
}
