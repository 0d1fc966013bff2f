/* msgpack.h - MessagePack as tokens: a reader and writers, without a tree.
 *
 * Extension types are no plain data and are refused on reading.  A container
 * that declares more values than bytes are left is refused at its head, so a
 * few hostile bytes never make anybody reserve memory. */
#ifndef SD_CODEC_MSGPACK_H
#define SD_CODEC_MSGPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    MSGPACK_DEPTH = 64 /* arrays and maps open at once */
};

enum msgpack_token {
    MSGPACK_END, /* the one value is whole and nothing follows */
    MSGPACK_NIL,
    MSGPACK_FALSE,
    MSGPACK_TRUE,
    MSGPACK_INT,    /* m->i: any integer that fits int64_t */
    MSGPACK_UINT,   /* m->u: only integers above INT64_MAX */
    MSGPACK_DOUBLE, /* m->n: float32 and float64, also NaN and inf */
    MSGPACK_STR,    /* m->text: any bytes, UTF-8 or not */
    MSGPACK_BIN,    /* m->text */
    MSGPACK_ARRAY,  /* m->count values follow */
    MSGPACK_MAP     /* m->count pairs follow, key first */
};

struct msgpack {
    const char *p; /* the next byte to read */
    const char *start;
    const char *end;
    const char *why; /* after an error: what is wrong, near `p` */
    int64_t i;
    uint64_t u;
    double n;
    struct slice text; /* points into the bytes read */
    uint32_t count;
    uint64_t owed;                /* values that open containers still lack */
    uint64_t left[MSGPACK_DEPTH]; /* the same per container, by depth */
    int depth;
    bool begun;
};

/* Read the one value that is the whole of `bytes`, which is borrowed until
 * the last msgpack_next(). */
void msgpack_init(struct msgpack *m, struct slice bytes);

/* The next enum msgpack_token, or SD_EINVALID (see m->why; the reader is
 * spent).  Containers have no end token: their count says it. */
int msgpack_next(struct msgpack *m);

/* Is the container that msgpack_next() reported last, or any around it, not
 * yet complete?  False when the top value is whole. */
static inline bool msgpack_is_open(const struct msgpack *m)
{
    return !m->begun || m->owed > 0;
}

/* Bytes of the one whole value at the start of `bytes` (more may follow), or
 * SD_EINVALID. */
int64_t msgpack_check(struct slice bytes);

/* Go past the next value, with all that is in it.  0 or SD_EINVALID. */
int msgpack_skip(struct msgpack *m);

/* Is this token text, in m->text?  Writers choose by its bytes. */
static inline bool msgpack_is_text(int token)
{
    return token == MSGPACK_STR || token == MSGPACK_BIN;
}

/* The next value, which is a whole number from 0 on.  0 or SD_EINVALID. */
int msgpack_read_uint(struct msgpack *m, uint64_t *out);

void msgpack_write_nil(struct buf *out);
void msgpack_write_bool(struct buf *out, bool b);
void msgpack_write_int(struct buf *out, int64_t i);
void msgpack_write_uint(struct buf *out, uint64_t u);

/* Whole numbers up to 2^53 as integers, all else as float64.  SD_EINVALID for
 * NaN and inf. */
int msgpack_write_number(struct buf *out, double n);

/* As str when `s` is UTF-8, else as bin, so that strict readers elsewhere
 * take both.  SD_ETOOLARGE from 4 GiB. */
int msgpack_write_string(struct buf *out, struct slice s);

/* Heads: `count` values, or pairs, are written next. */
void msgpack_write_array(struct buf *out, uint32_t count);
void msgpack_write_map(struct buf *out, uint32_t count);

#endif
