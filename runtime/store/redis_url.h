/* redis_url.h - where a Redis server is, from the url in config/redis.lua. */
#ifndef SD_STORE_REDIS_URL_H
#define SD_STORE_REDIS_URL_H

#include <stdbool.h>

#include "base/buf.h"

enum {
    REDIS_URL_TEXT = 512 /* bytes of the longest part */
};

struct redis_url {
    char path[108]; /* of a Unix socket; empty: host and port */
    char host[256];
    char port[8];
    char user[REDIS_URL_TEXT];
    char password[REDIS_URL_TEXT];
    unsigned db;
};

/* Read `url`; user and password may be percent-encoded.  `embedded` is the
 * path that the url "embedded" means, or NULL.  0, or SD_EINVALID with *why
 * (a constant, without the url's secrets). */
int redis_url_parse(struct redis_url *out, const char *url,
                    const char *embedded, const char **why);

/* Append one command in Redis's protocol: its head, then each argument. */
void redis_put_head(struct buf *out, unsigned argc);
void redis_put_arg(struct buf *out, const void *p, size_t len);

#endif
