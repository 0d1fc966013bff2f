/* format.c - see format.h.
 *
 * Letters and sizes are those of Lua 5.3 on a 64-bit machine.  What only sets
 * something (byte order, alignment) is an option without size and value, so
 * that both directions are one plain loop. */
#include "vm/format.h"

#include <stdint.h>

#include "vm/state.h"

enum {
    NATIVE_ALIGN = 8
};

void format_init(struct format *f, lua_State *L)
{
    size_t len;

    if (lua_type(L, 1) != LUA_TSTRING)
        co_raise(L, "bad format (a string expected)");
    f->L = L;
    f->p = lua_tolstring(L, 1, &len);
    f->end = f->p + len;
    f->big = false;
    f->align = 1;
}

bool format_is_over(const struct format *f)
{
    return f->p >= f->end;
}

static bool is_digit(const struct format *f)
{
    return f->p < f->end && *f->p >= '0' && *f->p <= '9';
}

static size_t number(struct format *f, size_t otherwise)
{
    size_t n = 0;

    if (!is_digit(f))
        return otherwise;
    while (is_digit(f)) {
        n = n * 10 + (size_t)(*f->p++ - '0');
        if (n > INT32_MAX)
            co_raise(f->L, "bad format (a size is too large)");
    }
    return n;
}

static size_t int_size(struct format *f, size_t otherwise)
{
    size_t n = number(f, otherwise);

    if (n < 1 || n > FORMAT_INT_MAX)
        co_raise(f->L, "bad format (integers have 1 to %d bytes)",
                 FORMAT_INT_MAX);
    return n;
}

static struct format_option make(enum format_kind kind, size_t size)
{
    return (struct format_option){kind, size, 0};
}

/* Options of numbers. */
static struct format_option number_option(struct format *f, char c)
{
    switch (c) {
    case 'b':
        return make(FORMAT_INT, 1);
    case 'B':
        return make(FORMAT_UINT, 1);
    case 'h':
        return make(FORMAT_INT, sizeof(short));
    case 'H':
        return make(FORMAT_UINT, sizeof(short));
    case 'l':
        return make(FORMAT_INT, sizeof(long));
    case 'L':
        return make(FORMAT_UINT, sizeof(long));
    case 'j':
        return make(FORMAT_INT, 8);
    case 'J':
        return make(FORMAT_UINT, 8);
    case 'T':
        return make(FORMAT_UINT, sizeof(size_t));
    case 'i':
        return make(FORMAT_INT, int_size(f, sizeof(int)));
    case 'I':
        return make(FORMAT_UINT, int_size(f, sizeof(int)));
    case 'f':
        return make(FORMAT_FLOAT, sizeof(float));
    case 'd':
    case 'n':
        return make(FORMAT_DOUBLE, sizeof(double));
    default:
        return make(FORMAT_NONE, 0);
    }
}

/* Options of strings, and those that only set something. */
static struct format_option other_option(struct format *f, char c)
{
    size_t n;

    switch (c) {
    case 's':
        return make(FORMAT_STRING, int_size(f, sizeof(size_t)));
    case 'z':
        return make(FORMAT_ZERO, 0);
    case 'x':
        return make(FORMAT_PAD, 1);
    case 'X':
        return make(FORMAT_ALIGN, 0);
    case 'c':
        n = number(f, SIZE_MAX);
        if (n == SIZE_MAX)
            co_raise(f->L, "bad format (c needs a size)");
        return make(FORMAT_CHAR, n);
    case ' ':
        break;
    case '<':
    case '=':
        f->big = false;
        break;
    case '>':
        f->big = true;
        break;
    case '!':
        f->align = int_size(f, NATIVE_ALIGN);
        break;
    default:
        co_raise(f->L, "bad format (unknown option '%c')", c);
    }
    return make(FORMAT_NONE, 0);
}

static struct format_option plain_option(struct format *f)
{
    char c = *f->p++;
    struct format_option o = number_option(f, c);

    return o.kind != FORMAT_NONE ? o : other_option(f, c);
}

struct format_option format_next(struct format *f, size_t at)
{
    struct format_option o = plain_option(f), like;
    size_t align = o.size;

    if (o.kind == FORMAT_ALIGN) {
        like = f->p < f->end ? plain_option(f) : make(FORMAT_NONE, 0);
        align = like.size;
        if (like.kind == FORMAT_CHAR || align == 0)
            co_raise(f->L, "bad format (X needs an option with a size)");
    } else if (o.kind == FORMAT_CHAR || o.kind == FORMAT_PAD) {
        return o;
    }
    if (align > f->align)
        align = f->align;
    if (align <= 1 || o.kind == FORMAT_NONE)
        return o;
    if ((align & (align - 1)) != 0)
        co_raise(f->L, "bad format (alignment to no power of two)");
    o.padding = (align - (at & (align - 1))) & (align - 1);
    return o;
}
