/* json_lines.h - text for people, in answers of the control socket. */
#ifndef SD_PROC_JSON_LINES_H
#define SD_PROC_JSON_LINES_H

#include "base/buf.h"

/* ,"name":["line", ...] */
void json_lines(struct buf *out, const char *name, struct slice text);

#endif
