/* mime.h - content types by file extension, and the test of a header. */
#ifndef SD_CODEC_MIME_H
#define SD_CODEC_MIME_H

#include <stdbool.h>

#include "base/slice.h"

/* Content-Type for a file name, by its extension in any letter case;
 * "application/octet-stream" when unknown.  Never NULL, static. */
const char *mime_type(struct slice name);

/* Is a Content-Type header's value of this type (lower case, without
 * parameters), whatever its letter case and parameters? */
bool mime_is(struct slice content_type, const char *type);

#endif
