/* row.h - one flat JSON map of an answer, as texts for people. */
#ifndef SD_CMD_ROW_H
#define SD_CMD_ROW_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/json.h"

enum {
    ROW_TEXT = 192, /* bytes of a field; longer ones are cut */
    ROW_FIELDS = 24,
};

/* Zeroed at first. */
struct row {
    unsigned n;
    char key[ROW_FIELDS][ROW_TEXT];
    char value[ROW_FIELDS][ROW_TEXT];
};

/* Read one map whose opening brace was read; what is a map in it is passed
 * over.  False when it is no such map. */
bool row_read(struct row *row, struct json *j);

/* The key was read: add it with its value, which is no list or map. */
bool row_read_field(struct row *row, struct json *j);

/* Read the list of maps behind a key: each goes to `take`. */
bool row_read_list(struct json *j,
                   void (*take)(void *ctx, const struct row *row), void *ctx);

/* "" and 0 when there is no such field. */
const char *row_get(const struct row *row, const char *key);
double row_number(const struct row *row, const char *key);

/* "3d 4h", "5m 6s": two units are enough for a person. */
void row_duration(char *out, size_t size, double seconds);

/* Clients choose their uids: nothing of them may reach the terminal as a
 * command.  Control characters become \xNN. */
void row_printable(char *out, size_t size, const char *s);

#endif
