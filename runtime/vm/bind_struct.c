/* bind_struct.c - bytes.pack and bytes.unpack, in the formats of Lua 5.3.
 *
 * Lua's numbers here are doubles: integers beyond 2^53 are strings of digits,
 * both ways, as everywhere in sdlua.  The format is read by vm/format.c, the
 * same for both directions. */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "vm/format.h"
#include "vm/lua_value.h"
#include "vm/state.h"

/* --- pack ----------------------------------------------------------------- */

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
                        const struct format_option *o)
{
    uint64_t limit;
    bool fits;

    if (o->size >= 8) {
        /* An unsigned 64 bit number needs more room to be a signed one. */
        fits = o->kind == FORMAT_UINT || o->size > 8 || n.negative ||
               n.bits >> 63 == 0;
    } else if (o->kind == FORMAT_UINT) {
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
    char bytes[FORMAT_INT_MAX];
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
                         const struct format_option *o, int arg)
{
    lua_State *L = f->L;
    struct integer n = {false, 0};
    size_t len;
    const char *s;

    if (lua_type(L, arg) != LUA_TSTRING && lua_type(L, arg) != LUA_TNUMBER)
        co_raise(L, "bad argument #%d to 'pack' (a string expected)", arg);
    s = lua_tolstring(L, arg, &len);
    if (o->kind == FORMAT_CHAR && len > o->size)
        co_raise(L, "bad argument #%d to 'pack' (longer than its field)", arg);
    if (o->kind == FORMAT_ZERO && memchr(s, 0, len) != NULL)
        co_raise(L, "bad argument #%d to 'pack' (contains a NUL)", arg);
    if (o->kind == FORMAT_STRING) {
        struct format_option head = {FORMAT_UINT, o->size, 0};

        n.bits = len;
        check_range(L, arg, n, &head);
        put_integer(b, n, o->size, f->big);
    }
    luaL_addlstring(b, s, len);
    if (o->kind == FORMAT_CHAR)
        put_zeros(b, o->size - len);
    if (o->kind == FORMAT_ZERO)
        put_zeros(b, 1);
    return o->kind == FORMAT_CHAR     ? o->size
           : o->kind == FORMAT_STRING ? o->size + len
                                      : len + 1;
}

static size_t put(luaL_Buffer *b, struct format *f,
                  const struct format_option *o, int arg)
{
    lua_State *L = f->L;
    struct integer n;

    switch (o->kind) {
    case FORMAT_INT:
    case FORMAT_UINT:
        n = check_integer(L, arg);
        check_range(L, arg, n, o);
        put_integer(b, n, o->size, f->big);
        return o->size;
    case FORMAT_FLOAT:
    case FORMAT_DOUBLE:
        if (!lua_isnumber(L, arg))
            co_raise(L, "bad argument #%d to 'pack' (a number expected)", arg);
        put_float(b, lua_tonumber(L, arg), o->size, f->big);
        return o->size;
    case FORMAT_CHAR:
    case FORMAT_STRING:
    case FORMAT_ZERO:
        return put_string(b, f, o, arg);
    default:
        put_zeros(b, o->kind == FORMAT_PAD);
        return o->kind == FORMAT_PAD;
    }
}

/* core.pack(format, ...) -> bytes */
static int l_pack(lua_State *L)
{
    struct format f;
    luaL_Buffer b;
    size_t total = 0;
    int arg = 1;

    format_init(&f, L);
    lua_pushnil(L); /* a missing argument is not a piece of the buffer */
    luaL_buffinit(L, &b);
    while (!format_is_over(&f)) {
        struct format_option o = format_next(&f, total);

        put_zeros(&b, o.padding);
        total += o.padding;
        total += put(&b, &f, &o, o.kind <= FORMAT_ZERO ? ++arg : 0);
    }
    luaL_pushresult(&b);
    return 1;
}

/* --- unpack --------------------------------------------------------------- */

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
                                  const struct format_option *o)
{
    size_t i, low = o->size < 8 ? o->size : 8;
    struct integer n = {false, 0};
    unsigned char sign;

    sd_assert(low > 0);
    for (i = 0; i < low; i++)
        n.bits |= (uint64_t)(unsigned char)p[f->big ? o->size - 1 - i : i]
                  << (8 * i);
    if (o->kind == FORMAT_INT)
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

static void push_float(struct format *f, const char *p,
                       const struct format_option *o)
{
    struct format_option raw = {FORMAT_UINT, o->size, 0};
    uint64_t bits = get_integer(f, p, &raw).bits;
    uint32_t word = (uint32_t)bits;
    float narrow;
    double x;

    if (o->kind == FORMAT_FLOAT) {
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
                  const struct format_option *o)
{
    struct format_option head = {FORMAT_UINT, o->size, 0};
    uint64_t len = 0;
    const char *end;

    switch (o->kind) {
    case FORMAT_INT:
    case FORMAT_UINT:
        push_integer(f->L, get_integer(f, p, o));
        return o->size;
    case FORMAT_FLOAT:
    case FORMAT_DOUBLE:
        push_float(f, p, o);
        return o->size;
    case FORMAT_CHAR:
        lua_pushlstring(f->L, p, o->size);
        return o->size;
    case FORMAT_STRING:
        len = get_integer(f, p, &head).bits;
        if (len > left - o->size)
            return too_short(f->L);
        lua_pushlstring(f->L, p + o->size, len);
        return o->size + len;
    case FORMAT_ZERO:
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

    format_init(&f, L);
    if (lua_type(L, 2) != LUA_TSTRING)
        return co_raise(L, "bad argument #2 to 'unpack' (a string expected)");
    s = lua_tolstring(L, 2, &len);
    at = start_of(L, len);
    while (!format_is_over(&f)) {
        struct format_option o = format_next(&f, at);

        if (o.padding > len - at || o.size > len - at - o.padding)
            too_short(L);
        at += o.padding;
        if (!lua_checkstack(L, 2))
            return co_raise(L, "too many results");
        at += get(&f, s + at, len - at, &o);
        n += o.kind <= FORMAT_ZERO;
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
