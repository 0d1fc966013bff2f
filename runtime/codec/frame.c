/* frame.c - see frame.h.
 *
 * A length packet is judged in 64 bits and only then compared with `max`, so
 * that neither a hostile number nor a negative `add` can wrap.  Its number is
 * complete before anything is said about it: the answer never depends on how
 * many bytes behind it have arrived.
 *
 * A line's search begins where the last one ended, less the bytes that may be
 * the start of a delimiter; a line that comes byte by byte costs no more than
 * one that comes at once.  `max` counts the delimiter, so the search never
 * looks behind it. */
#include "codec/frame.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"

/* --- reading ---------------------------------------- */

static int incomplete(struct frame *out, size_t need)
{
    out->need = need;
    return 0;
}

static int complete(struct frame *out, struct slice in, size_t cut, size_t body,
                    size_t size)
{
    out->body = slice_make(in.p + cut, body);
    out->size = size;
    out->need = size;
    out->scanned = 0;
    return 1;
}

static uint64_t number_load(const unsigned char *p, size_t n, bool little)
{
    uint64_t v = 0;
    size_t i;

    if (n == 4 && !little) {
        uint32_t v32;
        memcpy(&v32, p, sizeof(v32));
        return __builtin_bswap32(v32);
    }
    for (i = 0; i < n; i++)
        v = v << 8 | p[little ? n - 1 - i : i];
    return v;
}

/* The width of the varint at `p`: 0 when it does not end within `len`, or
 * SD_EPROTO when it has too many bytes. */
static int varint_load(const unsigned char *p, size_t len, uint64_t *number)
{
    uint64_t v = 0;
    unsigned i;

    for (i = 0; i < FRAME_VARINT && i < len; i++) {
        v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if (p[i] < 0x80) {
            *number = v;
            return (int)i + 1;
        }
    }
    return i < FRAME_VARINT ? 0 : SD_EPROTO;
}

static int length_next(const struct frame_spec *s, struct slice in,
                       struct frame *out)
{
    const unsigned char *p = (const unsigned char *)in.p;
    size_t head = (size_t)s->offset + s->bytes;
    uint64_t number;
    int64_t total;
    int width;

    if (s->bytes == FRAME_VARINT) {
        if (in.len <= s->offset)
            return incomplete(out, (size_t)s->offset + 1);
        width = varint_load(p + s->offset, in.len - s->offset, &number);
        if (width < 0)
            return width;
        if (width == 0)
            return incomplete(out, in.len + 1);
        head = (size_t)s->offset + (unsigned)width;
    } else {
        if (in.len < head)
            return incomplete(out, head);
        number = number_load(p + s->offset, s->bytes, s->little);
    }

    if (number > INT64_MAX)
        return SD_EPROTO;
    if (number > 2ull * FRAME_MAX)
        return SD_ETOOLARGE;
    total = (int64_t)number + s->add;
    if (!s->includes_header)
        total += (int64_t)head;
    if (total < (int64_t)head)
        return SD_EPROTO;
    if (total > (int64_t)frame_limit(s))
        return SD_ETOOLARGE;
    if (in.len < (size_t)total)
        return incomplete(out, (size_t)total);
    if (frame_is_whole(s))
        head = 0;
    return complete(out, in, head, (size_t)total - head, (size_t)total);
}

static const char *delimiter_find(const struct frame_spec *s, const char *p,
                                  size_t len)
{
    if (s->delimiter_len == 1)
        return memchr(p, s->delimiter[0], len);
    return memmem(p, len, s->delimiter, s->delimiter_len);
}

static int line_next(const struct frame_spec *s, struct slice in,
                     struct frame *out)
{
    size_t limit = frame_limit(s);
    size_t len = in.len < limit ? in.len : limit;
    size_t from = out->scanned >= s->delimiter_len
                      ? out->scanned - s->delimiter_len + 1
                      : 0;
    const char *end;

    if (from < len) {
        end = delimiter_find(s, in.p + from, len - from);
        if (end != NULL)
            return complete(out, in, 0, (size_t)(end - in.p),
                            (size_t)(end - in.p) + s->delimiter_len);
    }
    if (in.len >= limit)
        return SD_ETOOLARGE;
    out->scanned = in.len;
    return incomplete(out, in.len + 1);
}

int frame_next(const struct frame_spec *s, struct slice in, struct frame *out)
{
    switch (s->type) {
    case FRAME_LENGTH:
        return length_next(s, in, out);
    case FRAME_LINE:
        return line_next(s, in, out);
    case FRAME_FIXED:
        if (in.len < s->size)
            return incomplete(out, s->size);
        return complete(out, in, 0, s->size, s->size);
    default:
        sd_assert(s->type == FRAME_RAW);
        if (in.len == 0)
            return incomplete(out, 1);
        return complete(out, in, 0, in.len, in.len);
    }
}

int frame_cut(const struct frame_spec *s, struct slice in, bool known,
              int64_t total, struct frame *out)
{
    sd_assert(s->type == FRAME_PACK && in.len > 0);
    if (!known) {
        if (in.len >= frame_limit(s))
            return SD_ETOOLARGE;
        return incomplete(out, in.len + 1);
    }
    if (total <= 0)
        return SD_EPROTO;
    if (total > (int64_t)frame_limit(s))
        return SD_ETOOLARGE;
    if (in.len < (size_t)total)
        return incomplete(out, (size_t)total);
    return complete(out, in, 0, (size_t)total, (size_t)total);
}

/* --- sending ---------------------------------------- */

size_t frame_begin(const struct frame_spec *s, struct buf *b)
{
    size_t start = b->len;
    size_t head = frame_head_size(s);

    if (head > 0) {
        memset(buf_reserve(b, head), 0, head);
        buf_commit(b, head);
    }
    return start;
}

static void number_store(unsigned char *p, size_t n, bool little, uint64_t v)
{
    size_t i;

    if (n == 4 && !little) {
        uint32_t v32 = __builtin_bswap32((uint32_t)v);
        memcpy(p, &v32, sizeof(v32));
        return;
    }
    for (i = 0; i < n; i++)
        p[little ? i : n - 1 - i] = (unsigned char)(v >> (8 * i));
}

/* In exactly `n` bytes; a longer form than needed is legal LEB128. */
static void varint_store(unsigned char *p, size_t n, uint64_t v)
{
    size_t i;

    for (i = 0; i < n; i++) {
        p[i] = (unsigned char)((v & 0x7f) | (i + 1 < n ? 0x80 : 0));
        v >>= 7;
    }
}

static size_t varint_width(uint64_t v)
{
    size_t n = 1;

    while (v >>= 7)
        n++;
    return n;
}

/* The width of the number in this packet: of a varint that the codec put
 * into a whole packet the width found there, else the shortest. */
static int number_width(const struct frame_spec *s, struct slice packet)
{
    uint64_t ignored;
    int64_t number;
    int width;

    if (s->bytes != FRAME_VARINT)
        return s->bytes;
    if (frame_is_whole(s)) {
        if (packet.len <= s->offset)
            return SD_EINVALID;
        width = varint_load((const unsigned char *)packet.p + s->offset,
                            packet.len - s->offset, &ignored);
        return width > 0 ? width : SD_EINVALID;
    }
    number = (int64_t)packet.len - FRAME_VARINT - s->add;
    return number < 0 ? SD_EINVALID : (int)varint_width((uint64_t)number);
}

static bool number_fits(const struct frame_spec *s, size_t width, uint64_t v)
{
    unsigned bits = s->bytes == FRAME_VARINT ? 7 : 8;

    return width * bits >= 64 || v >> (width * bits) == 0;
}

static int length_seal(const struct frame_spec *s, struct buf *b, size_t start)
{
    struct slice packet = slice_skip(buf_slice(b), start);
    int width = number_width(s, packet);
    size_t n = (size_t)width, gap;
    unsigned char *p;
    int64_t number;

    if (width < 0)
        return width;
    gap = frame_is_whole(s) ? 0 : s->bytes - n;
    if (packet.len - gap > frame_limit(s))
        return SD_ETOOLARGE;
    if (packet.len < s->offset + n)
        return SD_EINVALID;
    number = (int64_t)(packet.len - gap) - s->add;
    if (!s->includes_header)
        number -= (int64_t)(s->offset + n);
    if (number < 0)
        return SD_EINVALID;
    if (!number_fits(s, n, (uint64_t)number))
        return SD_ETOOLARGE;

    p = (unsigned char *)b->p + b->head + start + s->offset;
    if (s->bytes == FRAME_VARINT)
        varint_store(p, n, (uint64_t)number);
    else
        number_store(p, n, s->little, (uint64_t)number);
    if (gap > 0) {
        memmove(p + n, p + s->bytes, packet.len - s->bytes);
        buf_truncate(b, b->len - gap);
    }
    return 0;
}

static int line_seal(const struct frame_spec *s, struct buf *b, size_t start)
{
    struct slice body = slice_skip(buf_slice(b), start);

    if (body.len + s->delimiter_len > frame_limit(s))
        return SD_ETOOLARGE;
    buf_append(b, s->delimiter, s->delimiter_len);
    body = slice_skip(buf_slice(b), start);
    if (delimiter_find(s, body.p, body.len) !=
        body.p + body.len - s->delimiter_len)
        return SD_EINVALID;
    return 0;
}

static int body_seal(const struct frame_spec *s, struct buf *b, size_t start)
{
    size_t len = b->len - start;

    switch (s->type) {
    case FRAME_LENGTH:
        return length_seal(s, b, start);
    case FRAME_LINE:
        return line_seal(s, b, start);
    case FRAME_FIXED:
        return len == s->size ? 0 : SD_EINVALID;
    default:
        return len <= frame_limit(s) ? 0 : SD_ETOOLARGE;
    }
}

int frame_seal(const struct frame_spec *s, struct buf *b, size_t start)
{
    int err;

    sd_assert(start + frame_head_size(s) <= b->len);
    err = body_seal(s, b, start);
    if (err < 0)
        buf_truncate(b, start);
    return err;
}
