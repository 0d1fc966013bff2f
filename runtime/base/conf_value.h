/* conf_value.h - one configured text read by the rules of its key. */
#ifndef SD_BASE_CONF_VALUE_H
#define SD_BASE_CONF_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf_schema.h"

struct conf_value {
    double number;  /* seconds, bytes, minutes of the day, or as written */
    uint64_t whole; /* of number: milliseconds, bytes, minutes */
    int choice;     /* index among the key's choices, -1: none of them */
    bool yes;
};

/* Read one text, or one item of a list.  0, or SD_EINVALID with `why` filled:
 * `expected ..., got "..."`. */
int conf_value_read(struct conf_value *out, const struct conf_key *key,
                    const char *text, char *why, size_t why_size);

/* What a type is called in messages and documentation. */
const char *conf_type_name(enum conf_type type);

/* Cores this process may use, 1 to 64: what "auto" means. */
unsigned conf_cores(void);

#endif
