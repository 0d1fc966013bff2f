/* built.h - the application of this folder, read and checked for a verb. */
#ifndef SD_CMD_BUILT_H
#define SD_CMD_BUILT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bundle.h"

struct built {
    struct buf bytes, report;
    struct bundle *bundle; /* NULL where something is wrong */
};

/* Evaluate, check, compile.  True if all is well; `report` is filled either
 * way.  A file that runs for more than 10 s ends the process, with one line
 * that names it. */
bool built_open(struct built *b);
void built_close(struct built *b);

/* Print the notes to stderr, errors only if so asked. */
void built_complain(const struct built *b, bool errors_only);

/* The texts of an entry, each with a NUL behind: the next of them, NULL at
 * the end. */
const char *built_next(struct slice *rest);

#endif
