/* json_run.h - how far the bytes of a JSON string are plain.
 *
 * Plain is what stands for itself: all but a quote, a backslash and control
 * characters.  Bytes above 127 are plain too, but whether they are UTF-8 is
 * for others to check. */
#ifndef SD_CODEC_JSON_RUN_H
#define SD_CODEC_JSON_RUN_H

#include <stdbool.h>

/* Where the run of plain bytes from `p` ends: at the first other byte, or at
 * `end`.  *high becomes true when a byte of the run is above 127, and perhaps
 * when one close behind it is; it is never set to false. */
const char *json_run(const char *p, const char *end, bool *high);

#endif
