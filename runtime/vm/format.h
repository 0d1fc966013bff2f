/* format.h - formats of bytes.pack and bytes.unpack, one option at a time. */
#ifndef SD_VM_FORMAT_H
#define SD_VM_FORMAT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    FORMAT_INT_MAX = 16 /* bytes of an integer */
};

enum format_kind {
    FORMAT_INT,
    FORMAT_UINT,
    FORMAT_FLOAT,
    FORMAT_DOUBLE,
    FORMAT_CHAR,   /* cN: a string of N bytes */
    FORMAT_STRING, /* sN: its length in N bytes in front */
    FORMAT_ZERO,   /* z: a NUL behind; the last with a value */
    FORMAT_PAD,    /* x: one byte */
    FORMAT_ALIGN,  /* X: padding only */
    FORMAT_NONE
};

struct format {
    lua_State *L;
    const char *p, *end; /* what is left of it */
    bool big;            /* byte order of the options from here on */
    size_t align;        /* at most */
};

struct format_option {
    enum format_kind kind;
    size_t size;
    size_t padding; /* in front */
};

/* Read the format at L[1], which stays there.  Like the next one it raises at
 * the script's line. */
void format_init(struct format *f, lua_State *L);
bool format_is_over(const struct format *f);

/* The next option, with the padding that it needs `at` this distance from the
 * start. */
struct format_option format_next(struct format *f, size_t at);

#endif
