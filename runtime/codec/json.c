/* json.c - see json.h.
 *
 * The reader is a machine of four states; what it stands in, a list or a map,
 * is one bit per depth.  A key is read together with its colon, so that no
 * state says "colon next".
 *
 * In a string a byte above 127 only leaves a mark; the whole string is then
 * checked once.  That stays right after unescaping, since an escape gives
 * whole characters and cannot complete a broken one beside it. */
#include "codec/json.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "codec/decimal.h"
#include "codec/json_run.h"
#include "codec/utf8.h"

enum state {
    AT_VALUE,     /* a value must follow */
    AT_FIRST,     /* behind [ : a value or ] */
    AT_FIRST_KEY, /* behind { : a key or } */
    AT_AFTER,     /* behind a value: a comma, a closing bracket, the end */
    AT_NOTHING    /* the end was told, or an error */
};

/* --- reading -------------------------------------------------------------- */

void json_init(struct json *j, struct slice text, struct buf *scratch)
{
    j->p = j->start = text.p;
    j->end = text.p + text.len;
    j->scratch = scratch;
    j->why = NULL;
    j->maps = 0;
    j->depth = 0;
    j->state = AT_VALUE;
}

static int fail(struct json *j, const char *why)
{
    j->why = j->p < j->end ? why : "text ends too soon";
    j->state = AT_NOTHING;
    return SD_EINVALID;
}

/* The next byte that is no space, or 0, which is no token either. */
static inline char peek(struct json *j)
{
    const char *p = j->p;

    while (p < j->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    j->p = p;
    if (p == j->end)
        return '\0';
    return *p;
}

/* Four hex digits at j->p, or -1. */
static int read_hex4(struct json *j)
{
    int i, value = 0;

    if (j->end - j->p < 4)
        return -1;
    for (i = 0; i < 4; i++) {
        char c = j->p[i];

        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            value = value * 16 + (c - 'A' + 10);
        else
            return -1;
    }
    j->p += 4;
    return value;
}

/* The character of a \u escape, its second half included; -1 when there is
 * none.  j->p is behind the u. */
static int read_unicode(struct json *j)
{
    int c = read_hex4(j), low;

    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c > 0xdbff || j->end - j->p < 6 || j->p[0] != '\\' || j->p[1] != 'u')
        return -1;
    j->p += 2;
    low = read_hex4(j);
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

/* The character an escape stands for, or -1; j->p is at its backslash and
 * moves behind the escape. */
static int read_escape(struct json *j)
{
    static const char names[] = "\"\\/bfnrt";
    static const char chars[] = "\"\\/\b\f\n\r\t";
    const char *name;

    if (j->end - j->p < 2 || j->p[1] == '\0')
        return -1;
    j->p += 2;
    if (j->p[-1] == 'u')
        return read_unicode(j);
    name = strchr(names, j->p[-1]);
    return name != NULL ? chars[name - names] : -1;
}

/* A string that holds an escape, which begins at `p`; j->p is where the
 * string begins. */
static int unescape(struct json *j, const char *p, bool *high)
{
    const char *run = j->p;
    int c;

    buf_consume(j->scratch, j->scratch->len);
    while (p < j->end && *p == '\\') {
        buf_append(j->scratch, run, (size_t)(p - run));
        j->p = p;
        c = read_escape(j);
        if (c < 0)
            return fail(j, "bad escape");
        buf_commit(j->scratch,
                   utf8_put(buf_reserve(j->scratch, UTF8_MAX), (uint32_t)c));
        run = j->p;
        p = json_run(run, j->end, high);
    }
    buf_append(j->scratch, run, (size_t)(p - run));
    j->text = buf_slice(j->scratch);
    j->p = p;
    return 0;
}

/* j->p is behind the opening quote, and moves behind the closing one. */
static int read_string(struct json *j)
{
    bool high = false;
    const char *p = json_run(j->p, j->end, &high);

    if (p < j->end && *p == '\\') {
        if (unescape(j, p, &high) < 0)
            return SD_EINVALID;
    } else {
        j->text = slice_make(j->p, (size_t)(p - j->p));
        j->p = p;
    }
    if (j->p == j->end || *j->p != '"')
        return fail(j, "control character in a string");
    j->p++;
    if (high && !utf8_is_valid(j->text)) {
        j->why = "string is not UTF-8";
        j->state = AT_NOTHING;
        return SD_EINVALID;
    }
    return 0;
}

static int read_number(struct json *j)
{
    struct decimal d;
    const char *after = decimal_read(&d, j->p, j->end);

    if (after == NULL) {
        j->why = d.why;
        j->state = AT_NOTHING;
        return SD_EINVALID;
    }
    j->text = slice_make(j->p, (size_t)(after - j->p));
    j->number = d.value;
    j->p = after;
    return d.is_big ? JSON_BIGINT : JSON_NUMBER;
}

static int read_word(struct json *j, const char *word, int token)
{
    size_t len = strlen(word);

    if ((size_t)(j->end - j->p) < len || memcmp(j->p, word, len) != 0)
        return fail(j, "unexpected character");
    j->p += len;
    return token;
}

static int open_container(struct json *j, bool is_map)
{
    if (j->depth == JSON_DEPTH)
        return fail(j, "nested deeper than 64");
    j->p++;
    j->maps =
        is_map ? j->maps | 1ull << j->depth : j->maps & ~(1ull << j->depth);
    j->depth++;
    j->state = is_map ? AT_FIRST_KEY : AT_FIRST;
    return is_map ? JSON_MAP : JSON_LIST;
}

static int close_container(struct json *j, int token)
{
    j->p++;
    j->depth--;
    j->state = AT_AFTER;
    return token;
}

/* A value begins with `c`, at j->p. */
static int read_value(struct json *j, char c)
{
    j->state = AT_AFTER;
    switch (c) {
    case '"':
        j->p++;
        return read_string(j) < 0 ? SD_EINVALID : JSON_STRING;
    case '{':
        return open_container(j, true);
    case '[':
        return open_container(j, false);
    case 't':
        return read_word(j, "true", JSON_TRUE);
    case 'f':
        return read_word(j, "false", JSON_FALSE);
    case 'n':
        return read_word(j, "null", JSON_NULL);
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return read_number(j);
        return fail(j, "unexpected character");
    }
}

/* A key begins with `c`, at j->p; its colon is taken too. */
static int read_key(struct json *j, char c)
{
    if (c != '"')
        return fail(j, "expected a key");
    j->p++;
    if (read_string(j) < 0)
        return SD_EINVALID;
    if (peek(j) != ':')
        return fail(j, "expected ':'");
    j->p++;
    j->state = AT_VALUE;
    return JSON_KEY;
}

/* Behind a value inside a container. */
static int read_after(struct json *j, char c)
{
    bool in_map = (j->maps >> (j->depth - 1) & 1) != 0;

    if (c == ',') {
        j->p++;
        return in_map ? read_key(j, peek(j)) : read_value(j, peek(j));
    }
    if (c == (in_map ? '}' : ']'))
        return close_container(j, in_map ? JSON_MAP_END : JSON_LIST_END);
    return fail(j, in_map ? "expected ',' or '}'" : "expected ',' or ']'");
}

int json_next(struct json *j)
{
    char c = peek(j);

    switch (j->state) {
    case AT_AFTER:
        if (j->depth > 0)
            return read_after(j, c);
        if (j->p < j->end)
            return fail(j, "text goes on behind the value");
        j->state = AT_NOTHING;
        return JSON_END;
    case AT_VALUE:
        return read_value(j, c);
    case AT_FIRST:
        return c == ']' ? close_container(j, JSON_LIST_END) : read_value(j, c);
    case AT_FIRST_KEY:
        return c == '}' ? close_container(j, JSON_MAP_END) : read_key(j, c);
    default:
        return SD_EINVALID;
    }
}

/* --- writing -------------------------------------------------------------- */

/* Write the escape of `c`; its length, at most 6. */
static size_t put_escape(char *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = "btn.fr"; /* from 8 on; 11 has no name */

    out[0] = '\\';
    if (c == '"' || c == '\\') {
        out[1] = (char)c;
        return 2;
    }
    if (c >= 8 && c <= 13 && c != 11) {
        out[1] = names[c - 8];
        return 2;
    }
    out[1] = 'u';
    out[2] = out[3] = '0';
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

/* The rest of a string from `stop`, which needs an escape, to `end`. */
static void write_escaped(struct buf *out, const char *stop, const char *end)
{
    bool high = false;
    const char *p;

    while (stop < end) {
        char *to = buf_reserve(out, (size_t)(end - stop) + 7);

        buf_commit(out, put_escape(to, (unsigned char)*stop));
        p = stop + 1;
        stop = json_run(p, end, &high);
        buf_append(out, p, (size_t)(stop - p));
    }
    buf_append(out, "\"", 1);
}

int json_write_string(struct buf *out, struct slice s)
{
    const char *end = s.p + s.len, *stop;
    bool high = false;
    size_t plain;
    char *to;

    stop = json_run(s.p, end, &high);
    if ((high || stop < end) && !utf8_is_valid(s))
        return SD_EINVALID;
    plain = (size_t)(stop - s.p);
    to = buf_reserve(out, s.len + 2);
    to[0] = '"';
    if (plain > 0)
        memcpy(to + 1, s.p, plain);
    if (stop == end) {
        to[plain + 1] = '"';
        buf_commit(out, plain + 2);
    } else {
        buf_commit(out, plain + 1);
        write_escaped(out, stop, end);
    }
    return 0;
}

int json_write_number(struct buf *out, double n)
{
    if (!isfinite(n))
        return SD_EINVALID;
    buf_commit(out, decimal_write(buf_reserve(out, DECIMAL_MAX), n));
    return 0;
}

void json_write_int(struct buf *out, int64_t n)
{
    buf_commit(out, decimal_write_int(buf_reserve(out, DECIMAL_MAX), n));
}

void json_write_uint(struct buf *out, uint64_t n)
{
    buf_commit(out, decimal_write_uint(buf_reserve(out, DECIMAL_MAX), n));
}
