/* resp.h - commands in Redis's protocol: a head, then each argument. */
#ifndef SD_STORE_RESP_H
#define SD_STORE_RESP_H

#include <stddef.h>

#include "base/buf.h"

void resp_put_head(struct buf *out, unsigned argc);
void resp_put_arg(struct buf *out, const void *p, size_t len);

#endif
