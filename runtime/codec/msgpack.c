/* msgpack.c - see msgpack.h.
 *
 * The reader keeps one number that makes count bombs harmless: how many
 * values all open containers still lack.  Each takes a byte at least, so a
 * head that raises it above the bytes left cannot be honest. */
#include "codec/msgpack.h"

#include <endian.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "codec/utf8.h"

#define WHOLE_MAX 9007199254740992.0 /* 2^53: up to here doubles are exact */

/* The first byte of what is no part of another byte's range. */
enum head {
    HEAD_MAP = 0x80,   /* and the low 4 bits: how many */
    HEAD_ARRAY = 0x90, /* the same */
    HEAD_STR = 0xa0,   /* and the low 5 bits: how long */
    HEAD_NIL = 0xc0,
    HEAD_FALSE = 0xc2,
    HEAD_TRUE = 0xc3,
    HEAD_BIN8 = 0xc4,
    HEAD_BIN16,
    HEAD_BIN32,
    HEAD_FLOAT32 = 0xca,
    HEAD_FLOAT64,
    HEAD_UINT8,
    HEAD_UINT16,
    HEAD_UINT32,
    HEAD_UINT64,
    HEAD_INT8,
    HEAD_INT16,
    HEAD_INT32,
    HEAD_INT64,
    HEAD_STR8 = 0xd9,
    HEAD_STR16,
    HEAD_STR32,
    HEAD_ARRAY16,
    HEAD_ARRAY32,
    HEAD_MAP16,
    HEAD_MAP32,
    HEAD_NEGATIVE = 0xe0 /* -32..-1 */
};

/* --- reading -------------------------------------------------------------- */

void msgpack_init(struct msgpack *m, struct slice bytes)
{
    m->p = m->start = bytes.p;
    m->end = bytes.p + bytes.len;
    m->why = NULL;
    m->owed = 0;
    m->depth = 0;
    m->begun = false;
}

static int fail(struct msgpack *m, const char *why)
{
    m->why = why;
    return SD_EINVALID;
}

/* A big-endian number of `n` bytes; SD_EINVALID when they are not there. */
static int read_be(struct msgpack *m, size_t n, uint64_t *out)
{
    uint64_t x = 0;
    size_t i;

    if ((size_t)(m->end - m->p) < n)
        return fail(m, "value ends too soon");
    for (i = 0; i < n; i++)
        x = x << 8 | (unsigned char)m->p[i];
    m->p += n;
    *out = x;
    return 0;
}

static int read_text(struct msgpack *m, uint64_t len, int token)
{
    if (len > (uint64_t)(m->end - m->p))
        return fail(m, "value ends too soon");
    m->text = slice_make(m->p, (size_t)len);
    m->p += len;
    return token;
}

static int open_container(struct msgpack *m, uint64_t count, int token)
{
    uint64_t values = token == MSGPACK_MAP ? count * 2 : count;

    if (m->owed + values > (uint64_t)(m->end - m->p))
        return fail(m, "more values declared than bytes left");
    m->count = (uint32_t)count;
    if (m->depth == MSGPACK_DEPTH)
        return fail(m, "nested deeper than 64");
    m->owed += values;
    m->left[m->depth++] = values;
    return token;
}

/* A number of `n` bytes that says how long the text or container is. */
static int read_sized(struct msgpack *m, size_t n, int token)
{
    uint64_t size;

    if (read_be(m, n, &size) < 0)
        return SD_EINVALID;
    if (token == MSGPACK_ARRAY || token == MSGPACK_MAP)
        return open_container(m, size, token);
    return read_text(m, size, token);
}

static int read_uint(struct msgpack *m, size_t n)
{
    if (read_be(m, n, &m->u) < 0)
        return SD_EINVALID;
    m->i = (int64_t)m->u;
    return m->u > INT64_MAX ? MSGPACK_UINT : MSGPACK_INT;
}

static int read_int(struct msgpack *m, size_t n)
{
    unsigned unused = (unsigned)(64 - 8 * n);
    uint64_t x;

    if (read_be(m, n, &x) < 0)
        return SD_EINVALID;
    m->i = (int64_t)(x << unused) >> unused;
    return MSGPACK_INT;
}

static int read_float(struct msgpack *m, size_t n)
{
    uint64_t x;
    uint32_t half;
    float single;

    if (read_be(m, n, &x) < 0)
        return SD_EINVALID;
    if (n == 8) {
        memcpy(&m->n, &x, 8);
    } else {
        half = (uint32_t)x;
        memcpy(&single, &half, 4);
        m->n = (double)single;
    }
    return MSGPACK_DOUBLE;
}

/* What begins with a byte of 0xc0 to 0xdf. */
static int read_headed(struct msgpack *m, unsigned char c)
{
    switch (c) {
    case HEAD_NIL:
        return MSGPACK_NIL;
    case HEAD_FALSE:
        return MSGPACK_FALSE;
    case HEAD_TRUE:
        return MSGPACK_TRUE;
    case HEAD_BIN8:
    case HEAD_BIN16:
    case HEAD_BIN32:
        return read_sized(m, (size_t)1 << (c - HEAD_BIN8), MSGPACK_BIN);
    case HEAD_FLOAT32:
    case HEAD_FLOAT64:
        return read_float(m, (size_t)4 << (c - HEAD_FLOAT32));
    case HEAD_UINT8:
    case HEAD_UINT16:
    case HEAD_UINT32:
    case HEAD_UINT64:
        return read_uint(m, (size_t)1 << (c - HEAD_UINT8));
    case HEAD_INT8:
    case HEAD_INT16:
    case HEAD_INT32:
    case HEAD_INT64:
        return read_int(m, (size_t)1 << (c - HEAD_INT8));
    case HEAD_STR8:
    case HEAD_STR16:
    case HEAD_STR32:
        return read_sized(m, (size_t)1 << (c - HEAD_STR8), MSGPACK_STR);
    case HEAD_ARRAY16:
    case HEAD_ARRAY32:
        return read_sized(m, (size_t)2 << (c - HEAD_ARRAY16), MSGPACK_ARRAY);
    case HEAD_MAP16:
    case HEAD_MAP32:
        return read_sized(m, (size_t)2 << (c - HEAD_MAP16), MSGPACK_MAP);
    default:
        return fail(m, "extension types are not supported");
    }
}

static int read_value(struct msgpack *m)
{
    unsigned char c = (unsigned char)*m->p++;

    if (c < HEAD_MAP || c >= HEAD_NEGATIVE) {
        m->i = c < HEAD_MAP ? c : c - 256;
        return MSGPACK_INT;
    }
    if (c < HEAD_ARRAY)
        return open_container(m, c & 15u, MSGPACK_MAP);
    if (c < HEAD_STR)
        return open_container(m, c & 15u, MSGPACK_ARRAY);
    if (c < HEAD_NIL)
        return read_text(m, c & 31u, MSGPACK_STR);
    return read_headed(m, c);
}

int msgpack_next(struct msgpack *m)
{
    if (m->why != NULL)
        return SD_EINVALID;
    if (m->begun && m->owed == 0) {
        if (m->p < m->end)
            return fail(m, "bytes behind the value");
        return MSGPACK_END;
    }
    if (m->p == m->end)
        return fail(m, "value ends too soon");
    while (m->depth > 0 && m->left[m->depth - 1] == 0)
        m->depth--;
    if (m->depth > 0) {
        m->left[m->depth - 1]--;
        m->owed--;
    }
    m->begun = true;
    return read_value(m);
}

int64_t msgpack_check(struct slice bytes)
{
    struct msgpack m;

    msgpack_init(&m, bytes);
    while (msgpack_is_open(&m)) {
        if (msgpack_next(&m) < 0)
            return SD_EINVALID;
    }
    return m.p - m.start;
}

int msgpack_skip(struct msgpack *m)
{
    uint64_t left = 1;

    for (; left > 0; left--) {
        int token = msgpack_next(m);

        if (token <= MSGPACK_END)
            return SD_EINVALID;
        if (token == MSGPACK_ARRAY)
            left += m->count;
        else if (token == MSGPACK_MAP)
            left += 2 * (uint64_t)m->count;
    }
    return 0;
}

int msgpack_read_uint(struct msgpack *m, uint64_t *out)
{
    int token = msgpack_next(m);

    if (token != MSGPACK_UINT && (token != MSGPACK_INT || m->i < 0))
        return SD_EINVALID;
    *out = token == MSGPACK_UINT ? m->u : (uint64_t)m->i;
    return 0;
}

/* --- writing -------------------------------------------------------------- */

static void write_byte(struct buf *out, unsigned c)
{
    *buf_reserve(out, 1) = (char)c;
    buf_commit(out, 1);
}

/* A head and a big-endian number of `n` bytes. */
static void write_be(struct buf *out, unsigned head, uint64_t x, size_t n)
{
    uint64_t be = htobe64(x << (64 - 8 * n));
    char *p = buf_reserve(out, 9);

    *p = (char)head;
    memcpy(p + 1, &be, sizeof(be));
    buf_commit(out, 1 + n);
}

void msgpack_write_nil(struct buf *out)
{
    write_byte(out, HEAD_NIL);
}

void msgpack_write_bool(struct buf *out, bool b)
{
    write_byte(out, b ? HEAD_TRUE : HEAD_FALSE);
}

void msgpack_write_uint(struct buf *out, uint64_t u)
{
    if (u < HEAD_MAP)
        write_byte(out, (unsigned)u);
    else if (u <= UINT8_MAX)
        write_be(out, HEAD_UINT8, u, 1);
    else if (u <= UINT16_MAX)
        write_be(out, HEAD_UINT16, u, 2);
    else if (u <= UINT32_MAX)
        write_be(out, HEAD_UINT32, u, 4);
    else
        write_be(out, HEAD_UINT64, u, 8);
}

void msgpack_write_int(struct buf *out, int64_t i)
{
    uint64_t u = (uint64_t)i;

    if (i >= 0)
        msgpack_write_uint(out, u);
    else if (i >= -32)
        write_byte(out, (unsigned)(u & UINT8_MAX));
    else if (i >= INT8_MIN)
        write_be(out, HEAD_INT8, u, 1);
    else if (i >= INT16_MIN)
        write_be(out, HEAD_INT16, u, 2);
    else if (i >= INT32_MIN)
        write_be(out, HEAD_INT32, u, 4);
    else
        write_be(out, HEAD_INT64, u, 8);
}

int msgpack_write_number(struct buf *out, double n)
{
    uint64_t x;

    if (!isfinite(n))
        return SD_EINVALID;
    if (fabs(n) <= WHOLE_MAX && n == (double)(int64_t)n &&
        !(n == 0 && signbit(n))) {
        msgpack_write_int(out, (int64_t)n);
        return 0;
    }
    memcpy(&x, &n, sizeof(x));
    write_be(out, HEAD_FLOAT64, x, 8);
    return 0;
}

int msgpack_write_string(struct buf *out, struct slice s)
{
    bool text = utf8_is_valid(s);

    if (s.len > UINT32_MAX)
        return SD_ETOOLARGE;
    if (text && s.len < 32)
        write_byte(out, HEAD_STR | (unsigned)s.len);
    else if (s.len <= UINT8_MAX)
        write_be(out, text ? HEAD_STR8 : HEAD_BIN8, s.len, 1);
    else if (s.len <= UINT16_MAX)
        write_be(out, text ? HEAD_STR16 : HEAD_BIN16, s.len, 2);
    else
        write_be(out, text ? HEAD_STR32 : HEAD_BIN32, s.len, 4);
    buf_append(out, s.p, s.len);
    return 0;
}

static void write_count(struct buf *out, unsigned fix, unsigned head,
                        uint32_t count)
{
    if (count < 16)
        write_byte(out, fix | count);
    else if (count <= UINT16_MAX)
        write_be(out, head, count, 2);
    else
        write_be(out, head + 1, count, 4);
}

void msgpack_write_array(struct buf *out, uint32_t count)
{
    write_count(out, HEAD_ARRAY, HEAD_ARRAY16, count);
}

void msgpack_write_map(struct buf *out, uint32_t count)
{
    write_count(out, HEAD_MAP, HEAD_MAP16, count);
}
