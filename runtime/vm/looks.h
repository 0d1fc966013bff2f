/* looks.h - what of C an operator may see, as Lua values. */
#ifndef SD_VM_LOOKS_H
#define SD_VM_LOOKS_H

#include <lua.h>

struct conn;

enum {
    LOOKS_MAX = 1000 /* rows of one look */
};

/* A new table with what is known of the conn; may raise. */
void looks_push_conn(lua_State *L, const struct conn *c);

#endif
