/* http_date.h - dates as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT". */
#ifndef SD_CODEC_HTTP_DATE_H
#define SD_CODEC_HTTP_DATE_H

#include <stdint.h>

#include "base/slice.h"

enum {
    HTTP_DATE_LEN = 29
};

/* Write exactly HTTP_DATE_LEN bytes, no NUL.  `seconds` since 1970 (UTC) are
 * clamped to the years 1970..9999. */
void http_date_write(char *out, int64_t seconds);

/* Seconds since 1970 of an IMF-fixdate.  SD_EINVALID for anything else, also
 * for the two obsolete forms: a condition with them is ignored, never wrong. */
int http_date_parse(int64_t *out, struct slice text);

#endif
