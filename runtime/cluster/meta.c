/* meta.c - see meta.h. */
#include "cluster/meta.h"

#include <string.h>

#include "base/err.h"
#include "codec/msgpack.h"

void meta_write(struct buf *out, const struct meta *m)
{
    unsigned i;

    msgpack_write_map(out, 6);
    msgpack_write_string(out, slice_str("v"));
    msgpack_write_string(out, slice_str(m->version));
    msgpack_write_string(out, slice_str("g"));
    msgpack_write_uint(out, m->generation);
    msgpack_write_string(out, slice_str("c"));
    msgpack_write_uint(out, m->conns);
    msgpack_write_string(out, slice_str("i"));
    msgpack_write_uint(out, m->redis);
    msgpack_write_string(out, slice_str("d"));
    msgpack_write_bool(out, m->is_draining);
    msgpack_write_string(out, slice_str("r"));
    msgpack_write_array(out, m->nrelays);
    for (i = 0; i < m->nrelays; i++)
        msgpack_write_uint(out, m->relays[i]);
}

static int read_u32(struct msgpack *m, uint32_t *out)
{
    uint64_t n;

    if (msgpack_read_uint(m, &n) < 0 || n > UINT32_MAX)
        return SD_EINVALID;
    *out = (uint32_t)n;
    return 0;
}

static int read_version(struct msgpack *m, char *out)
{
    if (!msgpack_is_text(msgpack_next(m)) || m->text.len >= META_VERSION)
        return SD_EINVALID;
    memcpy(out, m->text.p, m->text.len);
    out[m->text.len] = '\0';
    return 0;
}

static int read_flag(struct msgpack *m, bool *out)
{
    int token = msgpack_next(m);

    *out = token == MSGPACK_TRUE;
    return *out || token == MSGPACK_FALSE ? 0 : SD_EINVALID;
}

static int read_relays(struct msgpack *m, struct meta *out)
{
    uint32_t i, port;

    if (msgpack_next(m) != MSGPACK_ARRAY || m->count > META_RELAYS)
        return SD_EINVALID;
    out->nrelays = m->count;
    for (i = 0; i < out->nrelays; i++) {
        if (read_u32(m, &port) < 0 || port == 0 || port > UINT16_MAX)
            return SD_EINVALID;
        out->relays[i] = (uint16_t)port;
    }
    return 0;
}

static int read_field(struct msgpack *m, struct meta *out)
{
    if (!msgpack_is_text(msgpack_next(m)))
        return SD_EINVALID;
    if (slice_is(m->text, "v"))
        return read_version(m, out->version);
    if (slice_is(m->text, "g"))
        return read_u32(m, &out->generation);
    if (slice_is(m->text, "c"))
        return read_u32(m, &out->conns);
    if (slice_is(m->text, "i"))
        return msgpack_read_uint(m, &out->redis);
    if (slice_is(m->text, "d"))
        return read_flag(m, &out->is_draining);
    if (slice_is(m->text, "r"))
        return read_relays(m, out);
    return msgpack_skip(m);
}

int meta_read(struct meta *out, struct slice bytes)
{
    struct msgpack m;
    uint32_t n;

    *out = (struct meta){0};
    msgpack_init(&m, bytes);
    if (bytes.len == 0 || msgpack_next(&m) != MSGPACK_MAP)
        return SD_EINVALID;
    for (n = m.count; n > 0; n--)
        if (read_field(&m, out) < 0)
            return SD_EINVALID;
    return msgpack_next(&m) == MSGPACK_END ? 0 : SD_EINVALID;
}
