/* frame_spec.h - how the packets of a port are framed, as configured. */
#ifndef SD_CODEC_FRAME_SPEC_H
#define SD_CODEC_FRAME_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_type {
    FRAME_LENGTH, /* a number says how long */
    FRAME_LINE,   /* a delimiter ends it */
    FRAME_FIXED,  /* always `size` bytes */
    FRAME_RAW,    /* no boundaries: what one read brought */
    FRAME_PACK,   /* a script's pack.length() says: frame_cut() */
};

enum {
    FRAME_VARINT = 5,         /* frame_spec.bytes: LEB128, at most 5 bytes */
    FRAME_DELIMITER_MAX = 16, /* bytes */
    FRAME_MAX = 0x7fffffff,   /* what `max = 0` (no limit) means, bytes */
};

struct frame_spec {
    int type;             /* enum frame_type */
    uint32_t max;         /* bytes of a whole packet; 0 = FRAME_MAX */
    uint32_t offset;      /* LENGTH: bytes in front of the number */
    int32_t add;          /* LENGTH: what the number leaves out */
    uint8_t bytes;        /* LENGTH: 1, 2, 3, 4, 8 or FRAME_VARINT */
    bool little;          /* LENGTH: byte order of the number */
    bool includes_header; /* LENGTH: the number counts offset + bytes */
    bool whole;           /* LENGTH: the codec sees and makes whole packets */
    uint32_t size;        /* FIXED: bytes */
    uint8_t delimiter_len;
    char delimiter[16]; /* LINE */
};

/* What a type is called, and the type that is called so; -1: none. */
const char *frame_type_name(int type);
int frame_type_of(const char *name);

/* The defaults for one type; `type` is an enum frame_type. */
void frame_spec_init(struct frame_spec *s, int type);

/* Is this spec sound?  0, or SD_EINVALID and *why says what to mend (static
 * text that begins with the key).  Every spec passes here once before use. */
int frame_spec_check(const struct frame_spec *s, const char **why);

/* Do both say the same? */
bool frame_spec_is_same(const struct frame_spec *a, const struct frame_spec *b);

/* Bytes that a whole packet may have. */
static inline size_t frame_limit(const struct frame_spec *s)
{
    return s->max > 0 ? s->max : FRAME_MAX;
}

/* Does the codec see and make whole packets, number included? */
static inline bool frame_is_whole(const struct frame_spec *s)
{
    return s->whole || s->offset > 0;
}

#endif
