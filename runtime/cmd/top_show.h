/* top_show.h - a look at a node as text or as JSON. */
#ifndef SD_CMD_TOP_SHOW_H
#define SD_CMD_TOP_SHOW_H

#include "cmd/top_look.h"

/* Tables of at most `lines` lines and `columns` columns; 0: no limit. */
void top_text(const struct top *t, unsigned lines, unsigned columns,
              struct buf *out);

/* One object in one line. */
void top_json(const struct top *t, struct buf *out);

#endif
