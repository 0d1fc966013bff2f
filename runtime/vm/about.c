/* about.c - the version is compiled in: only this layer sees LuaJIT. */
#include <luajit.h>
#include <string.h>

#include "vm/about.h"

const char *about_luajit(void)
{
    return LUAJIT_VERSION + strlen("LuaJIT ");
}
