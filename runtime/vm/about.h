/* about.h - which Lua this is. */
#ifndef SD_VM_ABOUT_H
#define SD_VM_ABOUT_H

/* LuaJIT's version, e.g. "2.1.0-beta3". */
const char *about_luajit(void);

#endif
