/* json.h - JSON as tokens: a strict reader and the writers of its leaves.
 *
 * The reader takes RFC 8259 text and nothing else, whole at once, and builds
 * no tree: whoever asks for the next token puts it where it belongs. */
#ifndef SD_CODEC_JSON_H
#define SD_CODEC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    JSON_DEPTH = 64 /* lists and maps open at once */
};

enum json_token {
    JSON_END, /* the one value is whole and only space followed */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER, /* j->number; an integer is exact, up to 2^53 */
    JSON_BIGINT, /* j->text: an integer beyond 2^53, as it was written */
    JSON_STRING, /* j->text: valid UTF-8, unescaped */
    JSON_KEY,    /* j->text: the next key of a map; its value follows */
    JSON_LIST,
    JSON_LIST_END,
    JSON_MAP,
    JSON_MAP_END
};

struct json {
    const char *p; /* the next byte to read */
    const char *start;
    const char *end;
    struct buf *scratch; /* strings that held escapes */
    double number;
    struct slice text; /* valid until the next call */
    const char *why;   /* after an error: what is wrong, at `p` */
    uint64_t maps;     /* bit d: the container at depth d is a map */
    int depth;
    int state;
};

/* Read `text`, which is borrowed until the last json_next().  `scratch` is
 * kept as long; it may hold memory from earlier and keeps it. */
void json_init(struct json *j, struct slice text, struct buf *scratch);

/* The next enum json_token, or SD_EINVALID (see j->why; the reader is spent).
 * Commas and colons are checked and swallowed; after JSON_KEY the key's value
 * comes next. */
int json_next(struct json *j);

/* Append `s` with quotes and escapes.  SD_EINVALID when it is not UTF-8; then
 * nothing was written. */
int json_write_string(struct buf *out, struct slice s);

/* Append the shortest text that reads back as `n`.  Whole numbers carry no
 * point; those beyond 2^53 carry an exponent, so that they stay numbers for
 * readers that keep big integers apart.  SD_EINVALID for NaN and inf. */
int json_write_number(struct buf *out, double n);

/* Append an integer, digit by digit. */
void json_write_int(struct buf *out, int64_t n);
void json_write_uint(struct buf *out, uint64_t n);

#endif
