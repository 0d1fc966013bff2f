/* bind_bytes.c - text forms and check sums of bytes for scripts. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "vm/state.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static struct slice check_string(lua_State *L, int idx)
{
    struct slice s = {"", 0};

    if (lua_type(L, idx) != LUA_TSTRING)
        co_raise(L, "bad argument #%d (a string expected)", idx);
    s.p = lua_tolstring(L, idx, &s.len);
    return s;
}

static int invalid(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushfstring(L, "invalid: %s", why);
    return 2;
}

/* core.hex(bytes) -> lower-case text */
static int l_hex(lua_State *L)
{
    struct slice s = check_string(L, 1);
    char *out = lua_newuserdata(L, s.len * 2 + 1);
    size_t i;

    for (i = 0; i < s.len; i++) {
        out[i * 2] = hex_digits[(unsigned char)s.p[i] >> 4];
        out[i * 2 + 1] = hex_digits[s.p[i] & 15];
    }
    lua_pushlstring(L, out, s.len * 2);
    return 1;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* core.unhex(text) -> bytes, or nil, why */
static int l_unhex(lua_State *L)
{
    struct slice s = check_string(L, 1);
    char *out = lua_newuserdata(L, s.len / 2 + 1);
    size_t i;

    if (s.len % 2 != 0)
        return invalid(L, "an odd number of hexadecimal digits");
    for (i = 0; i < s.len; i += 2) {
        int high = hex_value(s.p[i]), low = hex_value(s.p[i + 1]);

        if (high < 0 || low < 0)
            return invalid(L, "no hexadecimal digit");
        out[i / 2] = (char)(high << 4 | low);
    }
    lua_pushlstring(L, out, s.len / 2);
    return 1;
}

/* core.base64(bytes) -> text with padding */
static int l_base64(lua_State *L)
{
    struct slice s = check_string(L, 1);
    char *out = lua_newuserdata(L, (s.len + 2) / 3 * 4 + 1);
    size_t i, n = 0;

    for (i = 0; i < s.len; i += 3) {
        size_t left = s.len - i, k;
        uint32_t bits = 0;

        for (k = 0; k < 3; k++)
            bits = bits << 8 | (k < left ? (unsigned char)s.p[i + k] : 0);
        for (k = 0; k < 4; k++)
            out[n + k] = base64_digits[bits >> (18 - 6 * k) & 63];
        if (left < 3)
            out[n + 3] = '=';
        if (left < 2)
            out[n + 2] = '=';
        n += 4;
    }
    lua_pushlstring(L, out, n);
    return 1;
}

static int base64_value(char c)
{
    const char *at = c != '\0' ? strchr(base64_digits, c) : NULL;

    if (at != NULL)
        return (int)(at - base64_digits);
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* core.unbase64(text) -> bytes, or nil, why.  Both alphabets, padding or
 * none; bits that would be lost must be zero. */
static int l_unbase64(lua_State *L)
{
    struct slice s = check_string(L, 1);
    char *out = lua_newuserdata(L, s.len / 4 * 3 + 3);
    size_t i, n = 0, pad = 0;
    uint32_t bits = 0;
    unsigned have = 0;

    while (pad < 2 && s.len > 0 && s.p[s.len - 1] == '=') {
        s.len--;
        pad++;
    }
    if (s.len % 4 == 1 || (pad > 0 && (s.len + pad) % 4 != 0))
        return invalid(L, "base64 of a wrong length");
    for (i = 0; i < s.len; i++) {
        int value = base64_value(s.p[i]);

        if (value < 0)
            return invalid(L, "no base64 digit");
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have);
            bits &= (1u << have) - 1;
        }
    }
    if (bits != 0)
        return invalid(L, "base64 with bits left over");
    lua_pushlstring(L, out, n);
    return 1;
}

/* core.crc16(bytes, "modbus" or "ccitt") -> number.  modbus: reflected 0x8005
 * from 0xffff; ccitt: 0x1021 from 0xffff ("ccitt-false"). */
static int l_crc16(lua_State *L)
{
    struct slice s = check_string(L, 1);
    const char *kind = lua_tostring(L, 2);
    bool modbus = kind != NULL && strcmp(kind, "modbus") == 0;
    unsigned crc = 0xffff, bit;
    size_t i;

    if (!modbus && (kind == NULL || strcmp(kind, "ccitt") != 0))
        return co_raise(L, "bad kind of crc16 (modbus or ccitt)");
    for (i = 0; i < s.len; i++) {
        crc ^= (unsigned)(unsigned char)s.p[i] << (modbus ? 0 : 8);
        for (bit = 0; bit < 8; bit++) {
            if (modbus)
                crc = (crc & 1) != 0 ? crc >> 1 ^ 0xa001 : crc >> 1;
            else
                crc = (crc & 0x8000) != 0 ? (crc << 1 ^ 0x1021) & 0xffff
                                          : crc << 1;
        }
    }
    lua_pushinteger(L, (lua_Integer)crc);
    return 1;
}

/* core.crc32(bytes) -> number, as of zip and Ethernet */
static int l_crc32(lua_State *L)
{
    struct slice s = check_string(L, 1);
    static const uint32_t nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffff;
    size_t i;

    for (i = 0; i < s.len; i++) {
        crc ^= (unsigned char)s.p[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    lua_pushnumber(L, (double)(crc ^ 0xffffffff));
    return 1;
}

static const luaL_Reg functions[] = {
    {"hex", l_hex},       {"unhex", l_unhex},
    {"base64", l_base64}, {"unbase64", l_unbase64},
    {"crc16", l_crc16},   {"crc32", l_crc32},
    {NULL, NULL}};

void bind_bytes(lua_State *L)
{
    luaL_register(L, NULL, functions);
    bind_struct(L);
}
