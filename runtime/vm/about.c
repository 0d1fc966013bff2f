/* about.c - the version is compiled in: only this layer sees LuaJIT. */
#include <luajit.h>
#include <string.h>

#include "vm/about.h"

const char *about_luajit(void)
{
    static const char version[] = LUAJIT_VERSION;

    return &version[strlen("LuaJIT ")];
}
