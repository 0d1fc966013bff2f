/* conf_schema.h - every key the configuration may have: one table.
 *
 * From it come the defaults, the checks of `sdlua check`, the answers of
 * `sdlua config`, the names of environment variables and docs/config.md.
 * Paths carry `*` where the user chooses a name: "ports.*.listen". */
#ifndef SD_BASE_CONF_SCHEMA_H
#define SD_BASE_CONF_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum conf_type {
    CONF_STRING,
    CONF_BOOL,
    CONF_INT,
    CONF_NUMBER,
    CONF_DURATION, /* "250ms" "10s" "5m" "1h" or a number of seconds */
    CONF_SIZE,     /* "64k" "8m" "1g" or a number of bytes */
    CONF_CHOICE,   /* one of `choices` */
    CONF_LIST,     /* of texts */
    CONF_WORDS,    /* a list of texts, or one text */
    CONF_TIME,     /* of the day: "08:30" */
    CONF_ANY,      /* plain data, not flattened */
};

/* How a value stands in struct conf; nothing where nobody reads it yet. */
enum conf_store {
    CONF_AS_NOTHING,
    CONF_AS_TEXT,
    CONF_AS_BYTES, /* text, then its length as unsigned */
    CONF_AS_BOOL,
    CONF_AS_UNSIGNED,
    CONF_AS_U64,
    CONF_AS_I64,
    CONF_AS_DOUBLE,
    CONF_AS_LIST,
    CONF_AS_CHOICE, /* its number, as int */
    CONF_AS_MINUTES,
};

struct conf_key {
    const char *path;
    const char *fallback; /* the default as text, lists by comma; or NULL */
    const char *choices;  /* "a|b|c"; also allowed beside CONF_INT */
    const char *doc;      /* one line */
    double min, max;      /* of numbers, in seconds and bytes; max 0: none */
    enum conf_type type;
    bool reload;   /* does a reload apply it? */
    bool secret;   /* not to be shown */
    bool needed;   /* has no default and cannot be left out */
    bool nullable; /* a text that may be false: none */
    enum conf_store store;
    size_t offset; /* in the struct of its section */
};

/* Key `i` in the order of the documentation; NULL behind the last. */
const struct conf_key *conf_key_at(unsigned i);

/* The key that a path written by a user names, or NULL. */
const struct conf_key *conf_key_find(struct slice path);

#endif
