/* frame_spec.c - see frame_spec.h.
 *
 * What passes frame_spec_check() needs no check at any packet. */
#include "codec/frame_spec.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"

#define LENGTH_DEFAULT_MAX 2000000
#define LINE_DEFAULT_MAX   65536
#define FIXED_DEFAULT_SIZE 16

_Static_assert(sizeof(((struct frame_spec *)0)->delimiter) ==
                   FRAME_DELIMITER_MAX,
               "the array is written out for the loader of specs");

static const char *const types[] = {
    [FRAME_LENGTH] = "length", [FRAME_LINE] = "line", [FRAME_FIXED] = "fixed",
    [FRAME_RAW] = "raw",       [FRAME_PACK] = "pack",
};

enum {
    NTYPES = sizeof(types) / sizeof(types[0])
};

const char *frame_type_name(int type)
{
    sd_assert(type >= 0 && type < NTYPES);
    return types[type];
}

int frame_type_of(const char *name)
{
    int type = 0;

    while (type < NTYPES && strcmp(types[type], name) != 0)
        type++;
    return type < NTYPES ? type : -1;
}

void frame_spec_init(struct frame_spec *s, int type)
{
    *s = (struct frame_spec){.type = type};
    switch (type) {
    case FRAME_LENGTH:
        s->bytes = 4;
        s->includes_header = true;
        s->max = LENGTH_DEFAULT_MAX;
        break;
    case FRAME_LINE:
        s->delimiter[0] = '\r';
        s->delimiter[1] = '\n';
        s->delimiter_len = 2;
        s->max = LINE_DEFAULT_MAX;
        break;
    case FRAME_FIXED:
        s->size = FIXED_DEFAULT_SIZE;
        break;
    case FRAME_PACK:
        s->max = LENGTH_DEFAULT_MAX;
        break;
    default:
        sd_assert(type == FRAME_RAW);
    }
}

static const char *length_flaw(const struct frame_spec *s)
{
    size_t head = (size_t)s->offset + s->bytes;
    bool varint = s->bytes == FRAME_VARINT;

    if (!varint && s->bytes != 8 && (s->bytes < 1 || s->bytes > 4))
        return "bytes: must be 1, 2, 3, 4, 8 or \"varint\"";
    if (varint && s->includes_header)
        return "includes_header: must be false with bytes = \"varint\"";
    if (s->offset > FRAME_MAX)
        return "offset: too large";
    if (s->add < -FRAME_MAX)
        return "add: too small";
    if (frame_limit(s) < head)
        return "max: smaller than the head of a packet";
    if (s->add > 0 && (size_t)s->add > frame_limit(s))
        return "add: larger than max";
    return NULL;
}

static const char *spec_flaw(const struct frame_spec *s)
{
    if (s->max > FRAME_MAX)
        return "max: must be less than 2g";
    switch (s->type) {
    case FRAME_LENGTH:
        return length_flaw(s);
    case FRAME_LINE:
        if (s->delimiter_len < 1 || s->delimiter_len > FRAME_DELIMITER_MAX)
            return "delimiter: must have 1 to 16 bytes";
        if (frame_limit(s) < s->delimiter_len)
            return "max: smaller than the delimiter";
        return NULL;
    case FRAME_FIXED:
        if (s->size < 1 || s->size > frame_limit(s))
            return "size: must be at least 1 and at most max";
        return NULL;
    case FRAME_RAW:
    case FRAME_PACK:
        return NULL;
    default:
        return "type: unknown";
    }
}

int frame_spec_check(const struct frame_spec *s, const char **why)
{
    const char *flaw = spec_flaw(s);

    if (flaw == NULL)
        return 0;
    *why = flaw;
    return SD_EINVALID;
}

bool frame_spec_is_same(const struct frame_spec *a, const struct frame_spec *b)
{
    return a->type == b->type && a->max == b->max && a->offset == b->offset &&
           a->add == b->add && a->bytes == b->bytes && a->little == b->little &&
           a->includes_header == b->includes_header && a->whole == b->whole &&
           a->size == b->size && a->delimiter_len == b->delimiter_len &&
           memcmp(a->delimiter, b->delimiter, a->delimiter_len) == 0;
}
