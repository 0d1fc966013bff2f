/* bind_struct.c - bytes.pack and bytes.unpack, in the formats of Lua 5.3.
 *
 * Lua's numbers here are doubles: integers beyond 2^53 are strings of digits,
 * both ways, as everywhere in sdlua.  A format is read one option at a time
 * into (kind, size, padding), the same for both directions. */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "vm/lua_value.h"
#include "vm/state.h"

enum {
    INT_SIZE_MAX = 16,
    NATIVE_ALIGN = 8
};

enum kind {
    KIND_INT,
    KIND_UINT,
    KIND_FLOAT,
    KIND_DOUBLE,
    KIND_CHAR,   /* cN: a string of N bytes */
    KIND_STRING, /* sN: its length in N bytes in front */
    KIND_ZERO,   /* z: a NUL behind */
    KIND_PAD,    /* x: one byte */
    KIND_ALIGN,  /* X: padding only */
    KIND_NONE
};

struct format {
    lua_State *L;
    const char *p, *end;
    bool big;
    size_t align; /* at most */
};

struct option {
    enum kind kind;
    size_t size;
    size_t padding; /* in front */
};

static void init(struct format *f, lua_State *L)
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

    if (n < 1 || n > INT_SIZE_MAX)
        co_raise(f->L, "bad format (integers have 1 to %d bytes)",
                 INT_SIZE_MAX);
    return n;
}

static struct option make(enum kind kind, size_t size)
{
    return (struct option){kind, size, 0};
}

/* Options of numbers. */
static struct option number_option(struct format *f, char c)
{
    switch (c) {
    case 'b':
        return make(KIND_INT, 1);
    case 'B':
        return make(KIND_UINT, 1);
    case 'h':
        return make(KIND_INT, sizeof(short));
    case 'H':
        return make(KIND_UINT, sizeof(short));
    case 'l':
        return make(KIND_INT, sizeof(long));
    case 'L':
        return make(KIND_UINT, sizeof(long));
    case 'j':
        return make(KIND_INT, 8);
    case 'J':
        return make(KIND_UINT, 8);
    case 'T':
        return make(KIND_UINT, sizeof(size_t));
    case 'i':
        return make(KIND_INT, int_size(f, sizeof(int)));
    case 'I':
        return make(KIND_UINT, int_size(f, sizeof(int)));
    case 'f':
        return make(KIND_FLOAT, sizeof(float));
    case 'd':
    case 'n':
        return make(KIND_DOUBLE, sizeof(double));
    default:
        return make(KIND_NONE, 0);
    }
}

/* Options of strings, and those that only set something. */
static struct option other_option(struct format *f, char c)
{
    size_t n;

    switch (c) {
    case 's':
        return make(KIND_STRING, int_size(f, sizeof(size_t)));
    case 'z':
        return make(KIND_ZERO, 0);
    case 'x':
        return make(KIND_PAD, 1);
    case 'X':
        return make(KIND_ALIGN, 0);
    case 'c':
        n = number(f, SIZE_MAX);
        if (n == SIZE_MAX)
            co_raise(f->L, "bad format (c needs a size)");
        return make(KIND_CHAR, n);
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
    return make(KIND_NONE, 0);
}

static struct option plain_option(struct format *f)
{
    char c = *f->p++;
    struct option o = number_option(f, c);

    return o.kind != KIND_NONE ? o : other_option(f, c);
}

/* The next option, with the padding that it needs `at` this distance. */
static struct option next_option(struct format *f, size_t at)
{
    struct option o = plain_option(f), like;
    size_t align = o.size;

    if (o.kind == KIND_ALIGN) {
        like = f->p < f->end ? plain_option(f) : make(KIND_NONE, 0);
        align = like.size;
        if (like.kind == KIND_CHAR || align == 0)
            co_raise(f->L, "bad format (X needs an option with a size)");
    } else if (o.kind == KIND_CHAR || o.kind == KIND_PAD) {
        return o;
    }
    if (align > f->align)
        align = f->align;
    if (align <= 1 || o.kind == KIND_NONE)
        return o;
    if ((align & (align - 1)) != 0)
        co_raise(f->L, "bad format (alignment to no power of two)");
    o.padding = (align - (at & (align - 1))) & (align - 1);
    return o;
}

/* --- pack ------------------------------------------------------------------- */

/* A whole number that 64 bits hold, signed or not. */
struct integer {
    bool negative;
    uint64_t bits; /* two's complement */
};

static bool digits_of(struct integer *out, const char *s, size_t len)
{
    bool negative = len > 0 && s[0] == '-';
    size_t i = negative;
    uint64_t n = 0;

    if (i == len)
        return false;
    for (; i < len; i++) {
        unsigned digit = (unsigned)(s[i] - '0');

        if (digit > 9 || __builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, digit, &n))
            return false;
    }
    if (negative && n > UINT64_C(1) << 63)
        return false;
    out->negative = negative && n > 0;
    out->bits = negative ? 0 - n : n;
    return true;
}

static struct integer check_integer(lua_State *L, int arg)
{
    struct integer out = {false, 0};
    size_t len;
    int64_t n;

    if (lua_type(L, arg) == LUA_TNUMBER && lua_value_is_integer(L, arg, &n))
        return (struct integer){n < 0, (uint64_t)n};
    if (lua_type(L, arg) == LUA_TSTRING) {
        const char *s = lua_tolstring(L, arg, &len);

        if (digits_of(&out, s, len))
            return out;
    }
    co_raise(L, "bad argument #%d to 'pack' (a whole number expected)", arg);
    return out;
}

static void check_range(lua_State *L, int arg, struct integer n,
                        const struct option *o)
{
    uint64_t limit;
    bool fits;

    if (o->size >= 8) {
        /* An unsigned 64 bit number needs more room to be a signed one. */
        fits = o->kind == KIND_UINT || o->size > 8 || n.negative ||
               n.bits >> 63 == 0;
    } else if (o->kind == KIND_UINT) {
        fits = !n.negative && n.bits >> (o->size * 8) == 0;
    } else {
        limit = UINT64_C(1) << (o->size * 8 - 1);
        fits = n.negative ? n.bits >= 0 - limit : n.bits < limit;
    }
    if (!fits)
        co_raise(L, "bad argument #%d to 'pack' (does not fit %d bytes)", arg,
                 (int)o->size);
}

static void put_integer(luaL_Buffer *b, struct integer n, size_t size, bool big)
{
    char bytes[INT_SIZE_MAX];
    size_t i;

    for (i = 0; i < size; i++) {
        size_t at = big ? size - 1 - i : i;

        bytes[at] = n.negative ? (char)0xff : '\0';
        if (i < 8)
            bytes[at] = (char)(n.bits >> (8 * i));
    }
    luaL_addlstring(b, bytes, size);
}

static void put_float(luaL_Buffer *b, double x, size_t size, bool big)
{
    struct integer n = {false, 0};
    float narrow = (float)x;
    uint32_t word;

    if (size == sizeof(float)) {
        memcpy(&word, &narrow, sizeof(word));
        n.bits = word;
    } else {
        memcpy(&n.bits, &x, sizeof(n.bits));
    }
    put_integer(b, n, size, big);
}

static void put_zeros(luaL_Buffer *b, size_t n)
{
    while (n-- > 0)
        luaL_addchar(b, '\0');
}

/* Strings may be long: each goes onto the buffer whole. */
static size_t put_string(luaL_Buffer *b, struct format *f,
                         const struct option *o, int arg)
{
    lua_State *L = f->L;
    struct integer n = {false, 0};
    size_t len;
    const char *s;

    if (lua_type(L, arg) != LUA_TSTRING && lua_type(L, arg) != LUA_TNUMBER)
        co_raise(L, "bad argument #%d to 'pack' (a string expected)", arg);
    s = lua_tolstring(L, arg, &len);
    if (o->kind == KIND_CHAR && len > o->size)
        co_raise(L, "bad argument #%d to 'pack' (longer than its field)", arg);
    if (o->kind == KIND_ZERO && memchr(s, 0, len) != NULL)
        co_raise(L, "bad argument #%d to 'pack' (contains a NUL)", arg);
    if (o->kind == KIND_STRING) {
        struct option head = {KIND_UINT, o->size, 0};

        n.bits = len;
        check_range(L, arg, n, &head);
        put_integer(b, n, o->size, f->big);
    }
    luaL_addlstring(b, s, len);
    if (o->kind == KIND_CHAR)
        put_zeros(b, o->size - len);
    if (o->kind == KIND_ZERO)
        put_zeros(b, 1);
    return o->kind == KIND_CHAR     ? o->size
           : o->kind == KIND_STRING ? o->size + len
                                    : len + 1;
}

static size_t put(luaL_Buffer *b, struct format *f, const struct option *o,
                  int arg)
{
    lua_State *L = f->L;
    struct integer n;

    switch (o->kind) {
    case KIND_INT:
    case KIND_UINT:
        n = check_integer(L, arg);
        check_range(L, arg, n, o);
        put_integer(b, n, o->size, f->big);
        return o->size;
    case KIND_FLOAT:
    case KIND_DOUBLE:
        if (!lua_isnumber(L, arg))
            co_raise(L, "bad argument #%d to 'pack' (a number expected)", arg);
        put_float(b, lua_tonumber(L, arg), o->size, f->big);
        return o->size;
    case KIND_CHAR:
    case KIND_STRING:
    case KIND_ZERO:
        return put_string(b, f, o, arg);
    default:
        put_zeros(b, o->kind == KIND_PAD);
        return o->kind == KIND_PAD;
    }
}

/* core.pack(format, ...) -> bytes */
static int l_pack(lua_State *L)
{
    struct format f;
    luaL_Buffer b;
    size_t total = 0;
    int arg = 1;

    init(&f, L);
    luaL_buffinit(L, &b);
    while (f.p < f.end) {
        struct option o = next_option(&f, total);

        put_zeros(&b, o.padding);
        total += o.padding;
        total += put(&b, &f, &o, o.kind <= KIND_ZERO ? ++arg : 0);
    }
    luaL_pushresult(&b);
    return 1;
}

/* --- unpack ----------------------------------------------------------------- */

static void push_integer(lua_State *L, struct integer n)
{
    uint64_t size = n.negative ? 0 - n.bits : n.bits;
    char text[24], *p = text + sizeof(text);

    if (size <= UINT64_C(1) << 53) {
        lua_pushnumber(L, n.negative ? -(double)size : (double)size);
        return;
    }
    do {
        *--p = (char)('0' + size % 10);
        size /= 10;
    } while (size > 0);
    if (n.negative)
        *--p = '-';
    lua_pushlstring(L, p, (size_t)(text + sizeof(text) - p));
}

static struct integer get_integer(struct format *f, const char *p,
                                  const struct option *o)
{
    size_t i, low = o->size < 8 ? o->size : 8;
    struct integer n = {false, 0};
    unsigned char sign;

    sd_assert(low > 0);
    for (i = 0; i < low; i++)
        n.bits |= (uint64_t)(unsigned char)p[f->big ? o->size - 1 - i : i]
                  << (8 * i);
    if (o->kind == KIND_INT)
        n.negative = n.bits >> (low * 8 - 1) != 0;
    if (n.negative && low < 8)
        n.bits |= UINT64_MAX << (low * 8);
    sign = n.negative ? 0xff : 0;
    for (i = 8; i < o->size; i++) {
        if ((unsigned char)p[f->big ? o->size - 1 - i : i] != sign)
            co_raise(f->L, "%d byte integer does not fit 64 bits",
                     (int)o->size);
    }
    return n;
}

static void push_float(struct format *f, const char *p, const struct option *o)
{
    struct option raw = {KIND_UINT, o->size, 0};
    uint64_t bits = get_integer(f, p, &raw).bits;
    uint32_t word = (uint32_t)bits;
    float narrow;
    double x;

    if (o->kind == KIND_FLOAT) {
        memcpy(&narrow, &word, sizeof(narrow));
        x = (double)narrow;
    } else {
        memcpy(&x, &bits, sizeof(x));
    }
    lua_pushnumber(f->L, x);
}

static size_t too_short(lua_State *L)
{
    return (size_t)co_raise(L, "bad argument #2 to 'unpack' (too short)");
}

/* Push the value at `p`; how many bytes it took. */
static size_t get(struct format *f, const char *p, size_t left,
                  const struct option *o)
{
    struct option head = {KIND_UINT, o->size, 0};
    uint64_t len = 0;
    const char *end;

    switch (o->kind) {
    case KIND_INT:
    case KIND_UINT:
        push_integer(f->L, get_integer(f, p, o));
        return o->size;
    case KIND_FLOAT:
    case KIND_DOUBLE:
        push_float(f, p, o);
        return o->size;
    case KIND_CHAR:
        lua_pushlstring(f->L, p, o->size);
        return o->size;
    case KIND_STRING:
        len = get_integer(f, p, &head).bits;
        if (len > left - o->size)
            return too_short(f->L);
        lua_pushlstring(f->L, p + o->size, len);
        return o->size + len;
    case KIND_ZERO:
        end = memchr(p, 0, left);
        if (end == NULL)
            return too_short(f->L);
        lua_pushlstring(f->L, p, (size_t)(end - p));
        return (size_t)(end - p) + 1;
    default:
        return o->size;
    }
}

static size_t start_of(lua_State *L, size_t len)
{
    double pos = lua_isnoneornil(L, 3) ? 1
                 : lua_isnumber(L, 3)  ? lua_tonumber(L, 3)
                                       : 0;

    if (pos < 0)
        pos += (double)len + 1;
    if (!(pos >= 1 && pos <= (double)len + 1) || pos != (double)(size_t)pos)
        co_raise(L, "bad argument #3 to 'unpack' (outside the string)");
    return (size_t)pos - 1;
}

/* core.unpack(format, bytes, pos) -> values ..., position behind them */
static int l_unpack(lua_State *L)
{
    struct format f;
    const char *s;
    size_t len, at;
    int n = 0;

    init(&f, L);
    if (lua_type(L, 2) != LUA_TSTRING)
        return co_raise(L, "bad argument #2 to 'unpack' (a string expected)");
    s = lua_tolstring(L, 2, &len);
    at = start_of(L, len);
    while (f.p < f.end) {
        struct option o = next_option(&f, at);

        if (o.padding > len - at || o.size > len - at - o.padding)
            too_short(L);
        at += o.padding;
        if (!lua_checkstack(L, 2))
            return co_raise(L, "too many results");
        at += get(&f, s + at, len - at, &o);
        n += o.kind <= KIND_ZERO;
    }
    lua_pushnumber(L, (double)at + 1);
    return n + 1;
}

static const luaL_Reg functions[] = {
    {"pack", l_pack}, {"unpack", l_unpack}, {NULL, NULL}};

void bind_struct(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
