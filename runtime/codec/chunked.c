/* chunked.c - see chunked.h.
 *
 * A state machine over single bytes for everything but the data itself, which
 * is skipped over in one step.  No state looks ahead, so portions cannot
 * matter.  Extensions and trailers mean nothing to anybody behind us and are
 * read only to find their end; they are still checked, because a lone LF in
 * them is the classic way to make two parties disagree about where a request
 * ends. */
#include "codec/chunked.h"

#include "base/assert.h"
#include "base/err.h"
#include "codec/http_text.h"

#define MAX_TOTAL (UINT64_C(1) << 53) /* what a Lua number holds exactly */

enum chunked_state {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_LINE, /* a trailer or the empty line begins */
    CHUNK_NAME,
    CHUNK_VALUE,
    CHUNK_VALUE_LF,
    CHUNK_END_LF,
    CHUNK_DONE,
    CHUNK_BROKEN,
    CHUNK_TOO_LARGE,
};

void chunked_init(struct chunked *c)
{
    *c = (struct chunked){.state = CHUNK_SIZE};
}

static int hex_value(uint8_t b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static bool is_control(uint8_t b)
{
    return b < 0x20 || b == 0x7f;
}

static enum chunked_state on_size(struct chunked *c, uint8_t b)
{
    int digit = hex_value(b);

    if (digit >= 0) {
        if (++c->run > CHUNKED_MAX_DIGITS)
            return CHUNK_BROKEN;
        c->left = c->left << 4 | (unsigned)digit;
        return CHUNK_SIZE;
    }
    if (c->run == 0)
        return CHUNK_BROKEN;
    c->run = 0;
    if (b == ';')
        return CHUNK_EXTENSION;
    return b == '\r' ? CHUNK_SIZE_LF : CHUNK_BROKEN;
}

static enum chunked_state on_extension(struct chunked *c, uint8_t b)
{
    if (b == '\r') {
        c->run = 0;
        return CHUNK_SIZE_LF;
    }
    if (is_control(b) || ++c->run > CHUNKED_MAX_EXTENSION)
        return CHUNK_BROKEN;
    return CHUNK_EXTENSION;
}

static enum chunked_state on_size_end(struct chunked *c)
{
    if (c->left == 0)
        return CHUNK_LINE;
    if (c->left > MAX_TOTAL - c->total)
        return CHUNK_TOO_LARGE;
    c->total += c->left;
    return CHUNK_DATA;
}

/* A byte of the trailer lines; `state` is where in a line it stands. */
static enum chunked_state on_trailer(struct chunked *c, uint8_t b)
{
    if (++c->run > CHUNKED_MAX_TRAILERS)
        return CHUNK_BROKEN;
    if (c->state == CHUNK_VALUE) {
        if (b == '\r')
            return CHUNK_VALUE_LF;
        return is_control(b) && b != '\t' ? CHUNK_BROKEN : CHUNK_VALUE;
    }
    if (c->state == CHUNK_LINE && b == '\r')
        return CHUNK_END_LF;
    if (c->state == CHUNK_NAME && b == ':')
        return CHUNK_VALUE;
    return http_text_lower[b] != 0 ? CHUNK_NAME : CHUNK_BROKEN;
}

static enum chunked_state step(struct chunked *c, uint8_t b)
{
    switch ((enum chunked_state)c->state) {
    case CHUNK_SIZE:
        return on_size(c, b);
    case CHUNK_EXTENSION:
        return on_extension(c, b);
    case CHUNK_SIZE_LF:
        return b == '\n' ? on_size_end(c) : CHUNK_BROKEN;
    case CHUNK_DATA_CR:
        return b == '\r' ? CHUNK_DATA_LF : CHUNK_BROKEN;
    case CHUNK_DATA_LF:
        return b == '\n' ? CHUNK_SIZE : CHUNK_BROKEN;
    case CHUNK_LINE:
    case CHUNK_NAME:
    case CHUNK_VALUE:
        return on_trailer(c, b);
    case CHUNK_VALUE_LF:
        return b == '\n' ? CHUNK_LINE : CHUNK_BROKEN;
    case CHUNK_END_LF:
        return b == '\n' ? CHUNK_DONE : CHUNK_BROKEN;
    default:
        sd_assert(false); /* a state that takes no bytes */
        return CHUNK_BROKEN;
    }
}

static void take_data(struct slice *body, struct chunked *c, struct slice *in)
{
    size_t n = c->left < in->len ? (size_t)c->left : in->len;

    *body = slice_make(in->p, n);
    *in = slice_skip(*in, n);
    c->left -= n;
    if (c->left == 0)
        c->state = CHUNK_DATA_CR;
}

int chunked_next(struct slice *body, struct chunked *c, struct slice *in)
{
    for (;;) {
        if (c->state == CHUNK_DONE)
            return 0;
        if (c->state == CHUNK_BROKEN)
            return SD_EPROTO;
        if (c->state == CHUNK_TOO_LARGE)
            return SD_ETOOLARGE;
        if (in->len == 0)
            return SD_EAGAIN;
        if (c->state == CHUNK_DATA) {
            take_data(body, c, in);
            return 1;
        }
        c->state = (int)step(c, (uint8_t)in->p[0]);
        *in = slice_skip(*in, 1);
    }
}
