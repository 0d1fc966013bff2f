/* msgpack.c - any bytes: the reader ends, agrees with msgpack_check(), and
 * what it gives, written anew, is a value of no more bytes than before. */
#include <math.h>
#include <stdint.h>

#include "base/assert.h"
#include "codec/msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf again;

static void write_token(const struct msgpack *m, int token)
{
    switch (token) {
    case MSGPACK_NIL:
        msgpack_write_nil(&again);
        break;
    case MSGPACK_FALSE:
    case MSGPACK_TRUE:
        msgpack_write_bool(&again, token == MSGPACK_TRUE);
        break;
    case MSGPACK_INT:
        msgpack_write_int(&again, m->i);
        break;
    case MSGPACK_UINT:
        msgpack_write_uint(&again, m->u);
        break;
    case MSGPACK_DOUBLE:
        if (msgpack_write_number(&again, m->n) < 0) {
            sd_assert(!isfinite(m->n));
            msgpack_write_nil(&again);
        }
        break;
    case MSGPACK_STR:
    case MSGPACK_BIN:
        sd_assert(msgpack_write_string(&again, m->text) == 0);
        break;
    case MSGPACK_ARRAY:
        msgpack_write_array(&again, m->count);
        break;
    default:
        sd_assert(token == MSGPACK_MAP);
        msgpack_write_map(&again, m->count);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_make(data, size);
    int64_t whole = msgpack_check(bytes);
    struct msgpack m;
    size_t tokens = 0;
    int token;

    if (whole >= 0)
        sd_assert(whole > 0 && (size_t)whole <= size);
    buf_truncate(&again, 0);
    msgpack_init(&m, bytes);
    while ((token = msgpack_next(&m)) > 0) {
        sd_assert(++tokens <= size && m.depth <= MSGPACK_DEPTH);
        write_token(&m, token);
    }
    sd_assert(m.p >= m.start && m.p <= m.end);
    sd_assert((token == MSGPACK_END) == (whole == (int64_t)size));
    sd_assert((token < 0) == (m.why != NULL));
    if (token == MSGPACK_END)
        sd_assert(msgpack_check(buf_slice(&again)) == (int64_t)again.len);
    return 0;
}
