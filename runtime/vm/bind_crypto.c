/* bind_crypto.c - random bytes, digests and comparison for scripts.
 *
 * Everything is raw bytes; sd.bytes.hex() makes them readable. */
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "base/assert.h"
#include "vm/state.h"

enum {
    RANDOM_MAX = 1 << 20
};

/* core.random(n) -> n bytes nobody can guess */
static int l_random(lua_State *L)
{
    double n = lua_isnumber(L, 1) ? lua_tonumber(L, 1) : -1;
    unsigned char *p;

    if (!(n >= 0 && n <= RANDOM_MAX) || n != (double)(int)n)
        return co_raise(L, "bad count (a whole number up to %d expected)",
                        RANDOM_MAX);
    p = lua_newuserdata(L, n > 0 ? (size_t)n : 1);
    sd_assert(RAND_bytes(p, (int)n) == 1);
    lua_pushlstring(L, (const char *)p, (size_t)n);
    return 1;
}

/* The digest named by argument 1; those without a fixed size are none. */
static const EVP_MD *check_digest(lua_State *L)
{
    const EVP_MD *md = NULL;

    if (lua_type(L, 1) == LUA_TSTRING)
        md = EVP_get_digestbyname(lua_tostring(L, 1));
    if (md == NULL || (EVP_MD_get_flags(md) & EVP_MD_FLAG_XOF) != 0)
        co_raise(L, "unknown algorithm '%s'",
                 lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1)
                                               : luaL_typename(L, 1));
    return md;
}

static const char *check_string(lua_State *L, int idx, size_t *len)
{
    if (lua_type(L, idx) != LUA_TSTRING)
        co_raise(L, "bad argument #%d (a string expected)", idx);
    return lua_tolstring(L, idx, len);
}

/* core.hash(algorithm, bytes) -> digest */
static int l_hash(lua_State *L)
{
    unsigned char out[EVP_MAX_MD_SIZE];
    const EVP_MD *md = check_digest(L);
    unsigned n = 0;
    size_t len;
    const char *s = check_string(L, 2, &len);

    if (EVP_Digest(s, len, out, &n, md, NULL) != 1)
        return co_raise(L, "algorithm '%s' is switched off here",
                        lua_tostring(L, 1));
    lua_pushlstring(L, (const char *)out, n);
    return 1;
}

/* core.hmac(algorithm, key, bytes) -> digest */
static int l_hmac(lua_State *L)
{
    unsigned char out[EVP_MAX_MD_SIZE];
    const EVP_MD *md = check_digest(L);
    unsigned n = 0;
    size_t key_len, len;
    const char *key = check_string(L, 2, &key_len);
    const char *s = check_string(L, 3, &len);

    if (key_len > INT_MAX ||
        HMAC(md, key, (int)key_len, (const unsigned char *)s, len, out, &n) ==
            NULL)
        return co_raise(L, "algorithm '%s' is switched off here",
                        lua_tostring(L, 1));
    lua_pushlstring(L, (const char *)out, n);
    return 1;
}

/* core.equal(a, b) -> are they, in a time that does not tell where they
 * differ */
static int l_equal(lua_State *L)
{
    size_t a_len, b_len;
    const char *a = check_string(L, 1, &a_len);
    const char *b = check_string(L, 2, &b_len);

    lua_pushboolean(L, a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0);
    return 1;
}

static const luaL_Reg functions[] = {{"random", l_random},
                                     {"hash", l_hash},
                                     {"hmac", l_hmac},
                                     {"equal", l_equal},
                                     {NULL, NULL}};

void bind_crypto(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
