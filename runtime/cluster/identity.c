/* identity.c - see identity.h.  A msgpack map, so that another version may say
 * more. */
#include "cluster/identity.h"

#include <string.h>

#include "base/err.h"
#include "codec/msgpack.h"

void identity_write(struct buf *out, const struct identity *i)
{
    msgpack_write_map(out, 4);
    msgpack_write_string(out, slice_str("n"));
    msgpack_write_string(out, slice_str(i->name));
    msgpack_write_string(out, slice_str("b"));
    msgpack_write_uint(out, i->place.boot);
    msgpack_write_string(out, slice_str("s"));
    msgpack_write_uint(out, i->place.slot);
    msgpack_write_string(out, slice_str("e"));
    msgpack_write_uint(out, i->place.epoch);
}

static int read_name(struct msgpack *m, char *out)
{
    if (!msgpack_is_text(msgpack_next(m)) || m->text.len >= IDENTITY_NAME)
        return SD_EINVALID;
    memcpy(out, m->text.p, m->text.len);
    out[m->text.len] = '\0';
    return 0;
}

static int read_below(struct msgpack *m, uint64_t limit, uint64_t *out)
{
    if (msgpack_read_uint(m, out) < 0 || *out > limit)
        return SD_EINVALID;
    return 0;
}

static int read_field(struct msgpack *m, struct identity *out)
{
    uint64_t n = 0;
    int err = 0;

    if (!msgpack_is_text(msgpack_next(m)))
        return SD_EINVALID;
    if (slice_is(m->text, "n"))
        return read_name(m, out->name);
    if (slice_is(m->text, "b"))
        return msgpack_read_uint(m, &out->place.boot);
    if (slice_is(m->text, "s")) {
        err = read_below(m, UINT8_MAX, &n);
        out->place.slot = (uint8_t)n;
        return err;
    }
    if (slice_is(m->text, "e")) {
        err = read_below(m, UINT16_MAX, &n);
        out->place.epoch = (uint16_t)n;
        return err;
    }
    return msgpack_skip(m);
}

int identity_read(struct identity *out, struct slice bytes)
{
    struct msgpack m;
    uint32_t n;

    *out = (struct identity){0};
    msgpack_init(&m, bytes);
    if (bytes.len == 0 || msgpack_next(&m) != MSGPACK_MAP)
        return SD_EINVALID;
    for (n = m.count; n > 0; n--)
        if (read_field(&m, out) < 0)
            return SD_EINVALID;
    if (msgpack_next(&m) != MSGPACK_END || out->place.boot == 0 ||
        out->place.epoch == 0 || out->name[0] == '\0')
        return SD_EINVALID;
    return 0;
}

uint64_t identity_relay(uint64_t boot, unsigned index)
{
    uint64_t x = boot + index;

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}
