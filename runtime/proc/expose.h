/* expose.h - the pieces of Prometheus text, 0.0.4. */
#ifndef SD_PROC_EXPOSE_H
#define SD_PROC_EXPOSE_H

#include <stdbool.h>

#include "base/buf.h"

/* A label's value: backslash, quote and newline are escaped. */
void expose_escaped(struct buf *out, const char *s);

/* What comes before the samples of a name. */
void expose_head(struct buf *out, const char *name, const char *help,
                 bool is_counter);

#endif
