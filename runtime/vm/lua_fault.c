/* lua_fault.c - see lua_fault.h.
 *
 * The path costs nothing until something is wrong: each level of the encoder
 * adds its key while the error travels out, so the text grows to the left. A
 * path too long for its room loses its outer end. */
#include "vm/lua_fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

enum {
    KEY_SHOWN = 48 /* bytes of a step worth reading */
};

int lua_fault_set(struct lua_fault *f, const char *what, ...)
{
    va_list ap;

    va_start(ap, what);
    vsnprintf(f->what, sizeof(f->what), what, ap);
    va_end(ap);
    f->at = sizeof(f->path);
    f->is_cut = false;
    return SD_EINVALID;
}

static void prepend(struct lua_fault *f, const char *step)
{
    size_t len = strlen(step);

    f->is_cut = f->is_cut || len > f->at;
    if (f->is_cut)
        return;
    f->at -= len;
    memcpy(f->path + f->at, step, len);
}

/* The start of a key, fit for any log and any client: plain ASCII. */
static void show_key(char *out, size_t size, const char *key, size_t len)
{
    size_t i;

    *out++ = '.';
    for (i = 0; i < len && i < size - 2; i++) {
        out[i] = key[i];
        if (key[i] < ' ' || key[i] > '~')
            out[i] = '?';
    }
    out[i] = '\0';
}

void lua_fault_key(struct lua_fault *f, lua_State *L, int idx)
{
    char step[KEY_SHOWN];
    size_t len;
    const char *key;

    switch (lua_type(L, idx)) {
    case LUA_TSTRING:
        key = lua_tolstring(L, idx, &len);
        show_key(step, sizeof(step), key, len);
        break;
    case LUA_TNUMBER:
        snprintf(step, sizeof(step), "[%.14g]", lua_tonumber(L, idx));
        break;
    default:
        snprintf(step, sizeof(step), "[%s]", lua_typename(L, lua_type(L, idx)));
        break;
    }
    prepend(f, step);
}

void lua_fault_item(struct lua_fault *f, size_t i)
{
    char step[32];

    snprintf(step, sizeof(step), "[%zu]", i);
    prepend(f, step);
}

const char *lua_fault_text(struct lua_fault *f)
{
    int len = (int)(sizeof(f->path) - f->at);

    snprintf(f->text, sizeof(f->text), "%s%s%s%.*s", f->what,
             len > 0 ? " at " : "", f->is_cut ? "..." : "", len,
             f->path + f->at);
    return f->text;
}
