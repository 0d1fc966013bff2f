/* transcode.h - MessagePack to JSON without Lua, for fan-out to mixed ports. */
#ifndef SD_CODEC_TRANSCODE_H
#define SD_CODEC_TRANSCODE_H

#include "base/buf.h"
#include "base/slice.h"

/* Append the JSON text of the one msgpack value `bytes`.  Integer keys become
 * text; str and bin are text.  On error `out` is as it was and *why (may be
 * NULL) a static text: SD_EINVALID for bytes that are no msgpack value, text
 * that is not UTF-8, NaN and inf, a key that is no string and no integer. */
int transcode_json(struct buf *out, struct slice bytes, const char **why);

#endif
