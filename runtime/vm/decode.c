/* decode.c - see decode.h.
 *
 * Lua collects while it makes values, but not fast enough for one that needs
 * much at once, and where it is refused memory it gives up.  One packet of
 * 200 KB makes 10 MB of tables. */
#include "vm/decode.h"

#include "vm/lua_json.h"
#include "vm/lua_msgpack.h"
#include "vm/state.h"

/* Bytes of Lua for a byte of input: one of MessagePack is a table and its place
 * in another. */
#define SWELL 96

/* Less is made without a look at what is left: it is in no more need than any
 * line of a script. */
#define SMALL 512

struct input {
    struct slice s;
    const char **why;
};

static int json(lua_State *L, void *arg)
{
    struct input *in = arg;

    return lua_json_decode(L, in->s, in->why);
}

static int msgpack(lua_State *L, void *arg)
{
    struct input *in = arg;

    return lua_msgpack_decode(L, in->s, in->why);
}

static int raw(lua_State *L, void *arg)
{
    struct input *in = arg;

    lua_pushlstring(L, in->s.p, in->s.len);
    return 0;
}

int decode_json(lua_State *L, struct slice s, const char **why)
{
    struct input in = {s, why};

    if (s.len < SMALL)
        return lua_json_decode(L, s, why);
    return garbage_attempt(L, json, &in, s.len * SWELL);
}

int decode_msgpack(lua_State *L, struct slice s, const char **why)
{
    struct input in = {s, why};

    if (s.len < SMALL)
        return lua_msgpack_decode(L, s, why);
    return garbage_attempt(L, msgpack, &in, s.len * SWELL);
}

int decode_raw(lua_State *L, struct slice s)
{
    struct input in = {s, NULL};

    return garbage_attempt(L, raw, &in, s.len);
}
