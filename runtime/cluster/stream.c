/* stream.c - see stream.h.
 *
 *     record = u32 length | frames, whole or partial | tag
 *     frame  = u32 length | u8 type | payload
 *
 * A record's length counts what follows it; a frame's its payload.  A plain
 * record has no tag.  Sealing is AES-256-GCM under the key of the direction;
 * the nonce is the record's number, which is never sent: a record that is
 * missing, repeated or out of place fails like a forged one.  The length is
 * authenticated as associated data.
 *
 * Writing costs one copy: frames are appended to an open record at the end of
 * the caller's buf, where they are encrypted in place.  A frame that would
 * fit into a record begins a new one rather than span two; so only long
 * frames span.
 *
 * Reading costs one copy, too, which is the decryption itself: a record is
 * opened from the received bytes into `plain`, where frames lie one behind
 * the other and are given out in place.  Only a record that arrives in parts
 * is collected first, in `raw`. */
#include "cluster/stream.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"

#define STREAM_MAGIC 0x7c3d90b2u

enum {
    LEN = 4,              /* bytes of a length */
    NONCE = 12,           /* four zeros and the record's number */
    KEEP = 256 * 1024,    /* of memory, when nothing is waiting */
    NUMBER_MAX_BITS = 48, /* of records under one key */
    PIECE = 2048,
};

/* One direction's cipher; ctx is NULL in a plain stream. */
struct cipher {
    EVP_CIPHER_CTX *ctx;
    uint64_t number; /* of the next record */
};

struct stream {
    unsigned magic;
    int err;
    struct cipher send, receive;
    size_t open;      /* bytes of the open record, its length included */
    size_t at;        /* bytes of `plain` that were given out */
    struct buf plain; /* opened records */
    struct buf raw;   /* a record that is not whole yet */
};

static uint32_t get_u32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;

    return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 |
           (uint32_t)u[3] << 24;
}

static void put_u32(char *p, size_t v)
{
    int i;

    for (i = 0; i < LEN; i++)
        p[i] = (char)(v >> (8 * i) & 0xff);
}

/* memcpy(), but in pieces: a long one is a string instruction of the CPU that
 * some (AMD Zen 4 among them) do 20 times slower when the two addresses differ
 * by a few bytes modulo 4,096, as they do behind a length. */
static void copy(char *to, struct slice from)
{
    for (; from.len > PIECE; from = slice_skip(from, PIECE)) {
        memcpy(to, from.p, PIECE);
        to += PIECE;
    }
    if (from.len > 0)
        memcpy(to, from.p, from.len);
}

/* --- the cipher ---------------------------------------------------------- */

static void cipher_open(struct cipher *c, const unsigned char *key, int encrypt)
{
    c->ctx = EVP_CIPHER_CTX_new();
    sd_assert(c->ctx != NULL);
    sd_assert(EVP_CipherInit_ex(c->ctx, EVP_aes_256_gcm(), NULL, key, NULL,
                                encrypt) == 1);
}

/* Ready for the next record, whose length is at `len`. */
static void cipher_begin(struct cipher *c, const char *len)
{
    unsigned char nonce[NONCE] = {0};
    uint64_t number = c->number++;
    int i, n;

    sd_assert(number >> NUMBER_MAX_BITS == 0);
    for (i = 0; i < 8; i++)
        nonce[4 + i] = (unsigned char)(number >> (8 * i));
    sd_assert(EVP_CipherInit_ex(c->ctx, NULL, NULL, NULL, nonce, -1) == 1);
    sd_assert(EVP_CipherUpdate(c->ctx, NULL, &n, (const unsigned char *)len,
                               LEN) == 1);
}

static void cipher_seal(struct cipher *c, char *record, size_t len)
{
    unsigned char *p = (unsigned char *)record + LEN;
    int n;

    cipher_begin(c, record);
    sd_assert(EVP_CipherUpdate(c->ctx, p, &n, p, (int)len) == 1);
    sd_assert((size_t)n == len);
    sd_assert(EVP_CipherFinal_ex(c->ctx, p + len, &n) == 1);
    sd_assert(EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_GET_TAG, STREAM_TAG,
                                  p + len) == 1);
}

/* The `len` bytes sealed in `record`, to `to`.  False: it is not the record
 * that the peer sent; what is at `to` must not be used. */
static bool cipher_unseal(struct cipher *c, char *to, const char *record,
                          size_t len)
{
    const unsigned char *p = (const unsigned char *)record + LEN;
    unsigned char tag[STREAM_TAG];
    int n;

    cipher_begin(c, record);
    memcpy(tag, p + len, STREAM_TAG);
    sd_assert(EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_SET_TAG, STREAM_TAG,
                                  tag) == 1);
    sd_assert(EVP_CipherUpdate(c->ctx, (unsigned char *)to, &n, p, (int)len) ==
              1);
    return EVP_CipherFinal_ex(c->ctx, (unsigned char *)to + len, &n) == 1;
}

/* --- both ---------------------------------------------------------------- */

struct stream *stream_create(const unsigned char *send,
                             const unsigned char *receive)
{
    struct stream *s = mem_zalloc(sizeof(*s));

    sd_assert((send == NULL) == (receive == NULL));
    s->magic = STREAM_MAGIC;
    if (send != NULL) {
        sd_assert(memcmp(send, receive, STREAM_KEY) != 0);
        cipher_open(&s->send, send, 1);
        cipher_open(&s->receive, receive, 0);
    }
    return s;
}

void stream_free(struct stream **s)
{
    if (*s == NULL)
        return;
    sd_check(*s, STREAM_MAGIC);
    EVP_CIPHER_CTX_free((*s)->send.ctx);
    EVP_CIPHER_CTX_free((*s)->receive.ctx);
    buf_fini(&(*s)->plain);
    buf_fini(&(*s)->raw);
    (*s)->magic = 0;
    mem_free(*s);
    *s = NULL;
}

static size_t tag_size(const struct stream *s)
{
    return s->send.ctx != NULL ? STREAM_TAG : 0;
}

/* --- writing ------------------------------------------------------------- */

void stream_seal(struct stream *s, struct buf *out)
{
    size_t len = s->open - LEN;
    char *record;

    sd_check(s, STREAM_MAGIC);
    if (s->open == 0)
        return;
    sd_assert(s->open > LEN && s->open <= out->len);
    record = buf_reserve(out, tag_size(s)) - s->open;
    put_u32(record, len + tag_size(s));
    if (s->send.ctx != NULL)
        cipher_seal(&s->send, record, len);
    buf_commit(out, tag_size(s));
    s->open = 0;
}

size_t stream_sealed(const struct stream *s, const struct buf *out)
{
    sd_check(s, STREAM_MAGIC);
    sd_assert(s->open <= out->len);
    return out->len - s->open;
}

/* Room for at most `want` bytes in the open record, which is begun or changed
 * for another as needed; *got of them are at the answer. */
static char *record_room(struct stream *s, struct buf *out, size_t want,
                         size_t *got)
{
    size_t room;

    if (s->open == LEN + STREAM_RECORD_MAX)
        stream_seal(s, out);
    if (s->open == 0) {
        buf_reserve(out, LEN);
        buf_commit(out, LEN);
        s->open = LEN;
    }
    room = LEN + STREAM_RECORD_MAX - s->open;
    *got = want < room ? want : room;
    return buf_reserve(out, *got + STREAM_TAG);
}

static void append(struct stream *s, struct buf *out, struct slice bytes)
{
    size_t n;
    char *p;

    while (bytes.len > 0) {
        p = record_room(s, out, bytes.len, &n);
        copy(p, slice_make(bytes.p, n));
        buf_commit(out, n);
        s->open += n;
        bytes = slice_skip(bytes, n);
    }
}

/* A frame that fits into one record: one reservation, one copy. */
static void append_whole(struct stream *s, struct buf *out, size_t size,
                         const char *head, const struct slice *v, unsigned n)
{
    size_t got;
    unsigned i;
    char *p;

    if (s->open + size > LEN + STREAM_RECORD_MAX)
        stream_seal(s, out);
    p = record_room(s, out, size, &got);
    sd_assert(got == size);
    memcpy(p, head, STREAM_HEAD);
    p += STREAM_HEAD;
    for (i = 0; i < n; i++) {
        copy(p, v[i]);
        p += v[i].len;
    }
    buf_commit(out, size);
    s->open += size;
}

int stream_write(struct stream *s, struct buf *out, uint8_t type,
                 const struct slice *v, unsigned n)
{
    char head[STREAM_HEAD];
    size_t len = 0;
    unsigned i;

    sd_check(s, STREAM_MAGIC);
    for (i = 0; i < n; i++) {
        if (v[i].len > STREAM_FRAME_MAX - len)
            return SD_ETOOLARGE;
        len += v[i].len;
    }
    put_u32(head, len);
    head[LEN] = (char)type;
    if (STREAM_HEAD + len <= STREAM_RECORD_MAX) {
        append_whole(s, out, STREAM_HEAD + len, head, v, n);
        return 0;
    }
    append(s, out, slice_make(head, STREAM_HEAD));
    for (i = 0; i < n; i++)
        append(s, out, v[i]);
    return 0;
}

/* --- reading ------------------------------------------------------------- */

/* How long the record is that begins with `in`; LEN while its length is not
 * there; 0 for a length that no record has. */
static size_t record_size(const struct stream *s, struct slice in)
{
    size_t len;

    if (in.len < LEN)
        return LEN;
    len = get_u32(in.p);
    if (len <= tag_size(s) || len > STREAM_RECORD_MAX + tag_size(s))
        return 0;
    return LEN + len;
}

static void open_record(struct stream *s, const char *record, size_t size)
{
    size_t len = size - LEN - tag_size(s);
    char *to = buf_reserve(&s->plain, len);

    if (s->receive.ctx == NULL)
        copy(to, slice_make(record + LEN, len));
    else if (!cipher_unseal(&s->receive, to, record, len))
        s->err = SD_EPROTO;
    if (s->err == 0)
        buf_commit(&s->plain, len);
}

/* Add to the record that is being collected; the bytes taken of `in`. */
static size_t collect(struct stream *s, struct slice in)
{
    size_t size = record_size(s, buf_slice(&s->raw));
    size_t n = size - s->raw.len;

    if (n > in.len)
        n = in.len;
    copy(buf_reserve(&s->raw, n), slice_make(in.p, n));
    buf_commit(&s->raw, n);
    size = record_size(s, buf_slice(&s->raw));
    if (size == 0) {
        s->err = SD_EPROTO;
    } else if (size > LEN && s->raw.len == size) {
        open_record(s, buf_slice(&s->raw).p, size);
        buf_truncate(&s->raw, 0);
    }
    return n;
}

static void drop_given(struct stream *s)
{
    buf_consume(&s->plain, s->at);
    s->at = 0;
    if (s->plain.len == 0 && s->plain.cap > KEEP)
        buf_fini(&s->plain);
}

void stream_feed(struct stream *s, struct slice in)
{
    size_t n;

    sd_check(s, STREAM_MAGIC);
    drop_given(s);
    while (in.len > 0 && s->err == 0) {
        n = record_size(s, in);
        if (s->raw.len > 0 || n > in.len) {
            n = collect(s, in);
        } else if (n == 0) {
            s->err = SD_EPROTO;
        } else {
            open_record(s, in.p, n);
        }
        in = slice_skip(in, n);
    }
}

int stream_next(struct stream *s, struct stream_frame *f)
{
    struct slice rest = slice_skip(buf_slice(&s->plain), s->at);
    size_t len;

    sd_check(s, STREAM_MAGIC);
    if (rest.len < STREAM_HEAD)
        return s->err;
    len = get_u32(rest.p);
    if (len > STREAM_FRAME_MAX) {
        s->err = SD_EPROTO;
        return s->err;
    }
    if (rest.len - STREAM_HEAD < len)
        return s->err;
    f->type = (uint8_t)rest.p[LEN];
    f->payload = slice_make(rest.p + STREAM_HEAD, len);
    s->at += STREAM_HEAD + len;
    return 1;
}
