/* transcode.c - see transcode.h.
 *
 * Reader tokens become writer calls, one by one; a container recurses, and
 * the reader's own limit of depth bounds that. */
#include "codec/transcode.h"

#include <stddef.h>

#include "base/err.h"
#include "codec/json.h"
#include "codec/msgpack.h"

struct transcoder {
    struct msgpack in;
    struct buf *out;
    const char *why;
};

static int fail(struct transcoder *t, const char *why)
{
    t->why = why;
    return SD_EINVALID;
}

static void put(struct transcoder *t, char c)
{
    *buf_reserve(t->out, 1) = c;
    buf_commit(t->out, 1);
}

static int put_text(struct transcoder *t)
{
    if (json_write_string(t->out, t->in.text) < 0)
        return fail(t, "text is not UTF-8");
    return 0;
}

static int put_key(struct transcoder *t)
{
    int token = msgpack_next(&t->in);

    if (token < 0)
        return fail(t, t->in.why);
    if (msgpack_is_text(token)) {
        if (put_text(t) < 0)
            return SD_EINVALID;
    } else if (token == MSGPACK_INT || token == MSGPACK_UINT) {
        put(t, '"');
        if (token == MSGPACK_INT)
            json_write_int(t->out, t->in.i);
        else
            json_write_uint(t->out, t->in.u);
        put(t, '"');
    } else {
        return fail(t, "a key is no string and no integer");
    }
    put(t, ':');
    return 0;
}

static int put_value(struct transcoder *t);

static int put_container(struct transcoder *t, bool is_map, uint32_t count)
{
    uint32_t i;

    put(t, is_map ? '{' : '[');
    for (i = 0; i < count; i++) {
        if (i > 0)
            put(t, ',');
        if ((is_map && put_key(t) < 0) || put_value(t) < 0)
            return SD_EINVALID;
    }
    put(t, is_map ? '}' : ']');
    return 0;
}

static int put_value(struct transcoder *t)
{
    int token = msgpack_next(&t->in);

    switch (token) {
    case MSGPACK_NIL:
        buf_append(t->out, "null", 4);
        return 0;
    case MSGPACK_FALSE:
        buf_append(t->out, "false", 5);
        return 0;
    case MSGPACK_TRUE:
        buf_append(t->out, "true", 4);
        return 0;
    case MSGPACK_INT:
        json_write_int(t->out, t->in.i);
        return 0;
    case MSGPACK_UINT:
        json_write_uint(t->out, t->in.u);
        return 0;
    case MSGPACK_DOUBLE:
        if (json_write_number(t->out, t->in.n) < 0)
            return fail(t, "a number is NaN or infinite");
        return 0;
    case MSGPACK_STR:
    case MSGPACK_BIN:
        return put_text(t);
    case MSGPACK_ARRAY:
    case MSGPACK_MAP:
        return put_container(t, token == MSGPACK_MAP, t->in.count);
    default:
        return fail(t, t->in.why);
    }
}

int transcode_json(struct buf *out, struct slice bytes, const char **why)
{
    struct transcoder t = {.out = out};
    size_t before = out->len;
    int err;

    msgpack_init(&t.in, bytes);
    err = put_value(&t);
    if (err == 0 && msgpack_next(&t.in) != MSGPACK_END)
        err = fail(&t, t.in.why);
    if (err < 0) {
        buf_truncate(out, before);
        if (why != NULL)
            *why = t.why;
    }
    return err;
}
