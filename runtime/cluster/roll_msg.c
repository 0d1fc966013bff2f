/* roll_msg.c - see roll_msg.h. */
#include "cluster/roll_msg.h"

#include "base/err.h"
#include "codec/msgpack.h"

enum {
    FIELDS = 9
};

/* Between two characters. */
static size_t cut(struct slice text)
{
    size_t n = ROLL_TEXT;

    while (n > 0 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void roll_msg_write(struct buf *out, const struct roll_msg *m)
{
    static const char magic = ROLL_MAGIC;
    struct slice text = m->text;

    if (text.len > ROLL_TEXT)
        text.len = cut(text);
    buf_append(out, &magic, 1);
    msgpack_write_array(out, FIELDS);
    msgpack_write_uint(out, ROLL_VERSION);
    msgpack_write_uint(out, m->type);
    msgpack_write_uint(out, m->state);
    msgpack_write_uint(out, m->from);
    msgpack_write_uint(out, m->to);
    msgpack_write_uint(out, m->id);
    msgpack_write_uint(out, m->nonce);
    msgpack_write_uint(out, m->generation);
    (void)msgpack_write_string(out, text);
}

static bool read_fields(struct roll_msg *m, struct msgpack *r)
{
    uint64_t version, type, state, generation;

    if (msgpack_read_uint(r, &version) < 0 || version != ROLL_VERSION ||
        msgpack_read_uint(r, &type) < 0 || type == 0 || type >= ROLL_TYPES ||
        msgpack_read_uint(r, &state) < 0 || state >= ROLL_STATES ||
        msgpack_read_uint(r, &m->from) < 0 ||
        msgpack_read_uint(r, &m->to) < 0 || msgpack_read_uint(r, &m->id) < 0 ||
        msgpack_read_uint(r, &m->nonce) < 0 ||
        msgpack_read_uint(r, &generation) < 0 || generation > UINT32_MAX ||
        !msgpack_is_text(msgpack_next(r)) || r->text.len > ROLL_TEXT)
        return false;
    m->type = (enum roll_type)type;
    m->state = (enum roll_state)state;
    m->generation = (uint32_t)generation;
    m->text = r->text;
    return msgpack_next(r) == MSGPACK_END;
}

int roll_msg_read(struct roll_msg *m, struct slice bytes)
{
    struct msgpack r;

    *m = (struct roll_msg){0};
    if (!roll_msg_is(bytes))
        return SD_EPROTO;
    msgpack_init(&r, slice_skip(bytes, 1));
    if (bytes.len == 1 || msgpack_next(&r) != MSGPACK_ARRAY ||
        r.count != FIELDS || !read_fields(m, &r))
        return SD_EPROTO;
    if (m->type == ROLL_STATE && m->state == 0)
        return SD_EPROTO;
    return 0;
}
