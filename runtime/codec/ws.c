/* ws.c - see ws.h.
 *
 * Reading.  A frame's head is parsed anew each time bytes arrive for it: that
 * is a few instructions and leaves nothing to remember but `done`, the payload
 * bytes already unmasked.  Checks are made in the order of the bytes they need,
 * each as soon as they are there, so that the answer is the same for any
 * chunking, and a bad byte is refused when it arrives.  A message of one frame
 * stays where it was received; only fragments are copied together.
 *
 * Writing.  A server's head has 2, 4 or 10 bytes, and the length is known only
 * when the codec has written.  Frames follow each other in one output buffer,
 * so a head cannot be right-aligned: the gap in front of it would travel.  Four
 * bytes are left free.  A payload under 126 bytes moves down by two, which is
 * a copy of two cache lines; one up to 64 KiB, where a copy would begin to
 * cost, does not move; a larger one moves up by six, little beside the cost of
 * sending it. */
#include "codec/ws.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"

enum ws_state {
    WS_READING,
    WS_ENDED, /* a close or an error was given out: drop what follows */
};

enum {
    BIT_FIN = 0x80,
    BITS_RSV = 0x70,
    BITS_OPCODE = 0x0f,
    BIT_CONTROL = 0x08,
    BIT_MASK = 0x80,
    LEN_16 = 126, /* 7-bit lengths that say a longer one follows */
    LEN_64 = 127,
    LEN_SHORT_MAX = 125,
    LEN_16_MAX = 0xffff,
    HEAD_SHORT = 2,
    HEAD_64 = 10,
    KEY_SIZE = 4,
};

struct head {
    int opcode;
    bool fin;
    size_t size; /* bytes of the head, key included */
    uint64_t len;
    const unsigned char *key;
};

void ws_reader_init(struct ws_reader *r, uint32_t max)
{
    *r = (struct ws_reader){.max = max};
    if (max == 0 || max > WS_MESSAGE_MAX)
        r->max = WS_MESSAGE_MAX;
}

void ws_reader_fini(struct ws_reader *r)
{
    buf_fini(&r->message);
}

bool ws_reader_is_amid(const struct ws_reader *r)
{
    return r->opcode != 0;
}

bool ws_reader_is_open(const struct ws_reader *r)
{
    return r->state == WS_READING;
}

void ws_reader_rest(struct ws_reader *r)
{
    if (r->opcode == 0)
        buf_fini(&r->message);
}

bool ws_is_code(int code)
{
    if (code >= 3000 && code <= 4999)
        return true;
    if (code == 1004 || code == WS_NO_CODE || code == 1006)
        return false;
    return code >= 1000 && code <= 1014;
}

void ws_mask(char *p, size_t n, const unsigned char *key, size_t phase)
{
    unsigned char k[8];
    uint64_t word, mask;
    size_t i;

    for (i = 0; i < sizeof(k); i++)
        k[i] = key[(phase + i) % KEY_SIZE];
    memcpy(&mask, k, sizeof(mask));
    for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        word ^= mask;
        memcpy(p, &word, sizeof(word));
    }
    for (i = 0; i < n; i++)
        p[i] = (char)(p[i] ^ k[i]);
}

/* --- reading ---------------------------------------- */

static int incomplete(struct ws_event *out, size_t need)
{
    out->need = need;
    return 0;
}

static int fail(struct ws_reader *r, struct ws_event *out, int code,
                const char *why)
{
    r->state = WS_ENDED;
    r->opcode = 0;
    buf_fini(&r->message);
    out->code = code;
    out->data = slice_str(why);
    switch (code) {
    case WS_INVALID_DATA:
        return SD_EINVALID;
    case WS_TOO_BIG:
        return SD_ETOOLARGE;
    default:
        return SD_EPROTO;
    }
}

/* What the first byte alone says: NULL, or what is wrong. */
static const char *first_byte_flaw(const struct ws_reader *r, unsigned byte)
{
    unsigned opcode = byte & BITS_OPCODE;

    if (byte & BITS_RSV)
        return "reserved bit set";
    switch (opcode) {
    case WS_CONTINUATION:
        return r->opcode == 0 ? "continuation of nothing" : NULL;
    case WS_TEXT:
    case WS_BINARY:
        return r->opcode != 0 ? "message amid a message" : NULL;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        return byte & BIT_FIN ? NULL : "fragmented control frame";
    default:
        return "reserved opcode";
    }
}

static const char *second_byte_flaw(unsigned first, unsigned byte)
{
    if (!(byte & BIT_MASK))
        return "unmasked frame";
    if (first & BIT_CONTROL && (byte & ~(unsigned)BIT_MASK) > WS_CONTROL_MAX)
        return "control frame over 125 bytes";
    return NULL;
}

static uint64_t load_big(const unsigned char *p, size_t n)
{
    uint64_t v = 0;

    while (n-- > 0)
        v = v << 8 | *p++;
    return v;
}

static const char *length_flaw(const struct head *h, size_t width)
{
    if (h->len >> 63)
        return "length with the top bit set";
    if (width > 0 && h->len <= (width == 2 ? LEN_SHORT_MAX : LEN_16_MAX))
        return "length not in its shortest form";
    return NULL;
}

/* The head of the frame in front: 1, 0 or an error as from ws_next(). */
static int head_parse(struct ws_reader *r, const unsigned char *p, size_t len,
                      struct head *h, struct ws_event *out)
{
    const char *flaw;
    size_t width;

    if (len == 0)
        return incomplete(out, HEAD_SHORT + KEY_SIZE);
    flaw = first_byte_flaw(r, p[0]);
    if (flaw != NULL)
        return fail(r, out, WS_PROTOCOL_ERROR, flaw);
    if (len == 1)
        return incomplete(out, HEAD_SHORT + KEY_SIZE);
    flaw = second_byte_flaw(p[0], p[1]);
    if (flaw != NULL)
        return fail(r, out, WS_PROTOCOL_ERROR, flaw);

    h->opcode = p[0] & BITS_OPCODE;
    h->fin = (p[0] & BIT_FIN) != 0;
    h->len = p[1] & ~(unsigned)BIT_MASK;
    width = h->len == LEN_16 ? 2 : h->len == LEN_64 ? 8 : 0;
    h->size = HEAD_SHORT + width + KEY_SIZE;
    if (len < HEAD_SHORT + width)
        return incomplete(out, h->size);
    if (width > 0)
        h->len = load_big(p + HEAD_SHORT, width);
    flaw = length_flaw(h, width);
    if (flaw != NULL)
        return fail(r, out, WS_PROTOCOL_ERROR, flaw);
    if (!(h->opcode & BIT_CONTROL)) {
        if (h->len > r->max - r->message.len)
            return fail(r, out, WS_TOO_BIG, "message too long");
        if (r->fragments == WS_FRAGMENTS_MAX)
            return fail(r, out, WS_TOO_BIG, "too many fragments");
    }
    if (len < h->size)
        return incomplete(out, h->size + (size_t)h->len);
    h->key = p + HEAD_SHORT + width;
    return 1;
}

static bool is_text(const struct ws_reader *r, const struct head *h)
{
    return h->opcode == WS_TEXT ||
           (h->opcode == WS_CONTINUATION && r->opcode == WS_TEXT);
}

/* Unmask and judge what has arrived of the payload since the last look. */
static int payload_take(struct ws_reader *r, char *payload, size_t have,
                        const struct head *h, struct ws_event *out)
{
    size_t fresh = have - r->done;
    char *p = payload + r->done;

    sd_assert(have >= r->done);
    ws_mask(p, fresh, h->key, r->done);
    r->done = (uint32_t)have;
    if (is_text(r, h) && !utf8_feed(&r->utf8, slice_make(p, fresh)))
        return fail(r, out, WS_INVALID_DATA, "text is not UTF-8");
    return 1;
}

static int close_event(struct ws_reader *r, struct slice payload,
                       struct ws_event *out)
{
    int code = WS_NO_CODE;

    if (payload.len == 1)
        return fail(r, out, WS_PROTOCOL_ERROR, "close with half a code");
    if (payload.len > 0) {
        code = (int)load_big((const unsigned char *)payload.p, 2);
        payload = slice_skip(payload, 2);
        if (!ws_is_code(code))
            return fail(r, out, WS_PROTOCOL_ERROR, "invalid close code");
        if (!utf8_is_valid(payload))
            return fail(r, out, WS_INVALID_DATA, "close reason is not UTF-8");
    }
    r->state = WS_ENDED;
    r->opcode = 0;
    buf_fini(&r->message);
    out->code = code;
    out->data = payload;
    return 1;
}

static int data_event(struct ws_reader *r, const struct head *h,
                      struct slice payload, struct ws_event *out)
{
    bool single = h->fin && h->opcode != WS_CONTINUATION;
    bool text = is_text(r, h);

    if (h->fin && text && !utf8_is_done(&r->utf8))
        return fail(r, out, WS_INVALID_DATA, "text ends inside a character");
    if (!single) {
        if (h->opcode != WS_CONTINUATION)
            r->opcode = (uint8_t)h->opcode;
        r->fragments++;
        buf_append(&r->message, payload.p, payload.len);
    }
    if (!h->fin) {
        out->type = 0;
        out->data = slice_make("", 0);
        return 1;
    }
    out->type = text ? WS_TEXT : WS_BINARY;
    out->data = single ? payload : buf_slice(&r->message);
    r->opcode = 0;
    r->fragments = 0;
    return 1;
}

int ws_next(struct ws_reader *r, char *p, size_t len, struct ws_event *out)
{
    struct head h;
    struct slice payload;
    size_t have;
    int err;

    if (r->state == WS_ENDED) {
        if (len == 0)
            return incomplete(out, 1);
        *out = (struct ws_event){.data = {"", 0}, .size = len};
        return 1;
    }
    if (r->opcode == 0 && r->message.len > 0)
        buf_consume(&r->message, r->message.len);

    err = head_parse(r, (const unsigned char *)p, len, &h, out);
    if (err <= 0)
        return err;
    have = len - h.size < h.len ? len - h.size : (size_t)h.len;
    err = payload_take(r, p + h.size, have, &h, out);
    if (err < 0)
        return err;
    if (have < h.len)
        return incomplete(out, h.size + (size_t)h.len);

    r->done = 0;
    payload = slice_make(p + h.size, (size_t)h.len);
    out->type = h.opcode;
    out->code = 0;
    out->data = payload;
    out->size = h.size + payload.len;
    if (h.opcode == WS_CLOSE)
        return close_event(r, payload, out);
    return h.opcode & BIT_CONTROL ? 1 : data_event(r, &h, payload, out);
}

/* --- writing ---------------------------------------- */

size_t ws_begin(struct buf *b)
{
    size_t start = b->len;

    memset(buf_reserve(b, WS_HEAD), 0, WS_HEAD);
    buf_commit(b, WS_HEAD);
    return start;
}

static void store_big(unsigned char *p, size_t n, uint64_t v)
{
    while (n-- > 0) {
        p[n] = (unsigned char)v;
        v >>= 8;
    }
}

void ws_seal(struct buf *b, size_t start, int opcode)
{
    unsigned char *p;
    size_t len;

    sd_assert(start + WS_HEAD <= b->len);
    len = b->len - start - WS_HEAD;
    sd_assert(!(opcode & BIT_CONTROL) || len <= WS_CONTROL_MAX);
    if (len > LEN_16_MAX) {
        buf_reserve(b, HEAD_64 - WS_HEAD);
        buf_commit(b, HEAD_64 - WS_HEAD);
    }
    p = (unsigned char *)b->p + b->head + start;
    p[0] = (unsigned char)(BIT_FIN | opcode);
    if (len <= LEN_SHORT_MAX) {
        p[1] = (unsigned char)len;
        memmove(p + HEAD_SHORT, p + WS_HEAD, len);
        buf_truncate(b, b->len - (WS_HEAD - HEAD_SHORT));
    } else if (len <= LEN_16_MAX) {
        p[1] = LEN_16;
        store_big(p + HEAD_SHORT, 2, len);
    } else {
        memmove(p + HEAD_64, p + WS_HEAD, len);
        p[1] = LEN_64;
        store_big(p + HEAD_SHORT, 8, len);
    }
}

void ws_put(struct buf *b, int opcode, struct slice payload)
{
    size_t start = ws_begin(b);

    buf_append(b, payload.p, payload.len);
    ws_seal(b, start, opcode);
}

void ws_put_close(struct buf *b, int code, struct slice reason)
{
    size_t start = ws_begin(b);
    unsigned char two[2];

    if (code != WS_NO_CODE) {
        sd_assert(ws_is_code(code));
        store_big(two, sizeof(two), (uint64_t)code);
        buf_append(b, two, sizeof(two));
        if (utf8_is_valid(reason))
            buf_append(b, reason.p,
                       utf8_cut(reason, WS_CONTROL_MAX - sizeof(two)));
    }
    ws_seal(b, start, WS_CLOSE);
}
