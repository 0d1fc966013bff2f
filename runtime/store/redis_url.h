/* redis_url.h - where a Redis server is, from the url in config/redis.lua. */
#ifndef SD_STORE_REDIS_URL_H
#define SD_STORE_REDIS_URL_H

enum {
    REDIS_URL_TEXT = 512, /* room for a user or password */
    REDIS_URL_HOST = 256,
    REDIS_URL_PATH = 108 /* what a sockaddr_un takes */
};

/* Texts end with a NUL; an empty one is not given. */
struct redis_url {
    char path[REDIS_URL_PATH]; /* of a Unix socket; empty: host and port */
    char host[REDIS_URL_HOST];
    unsigned port;
    char user[REDIS_URL_TEXT];
    char password[REDIS_URL_TEXT];
    unsigned db;
};

/* Read one of
 *     redis://[[user]:password@]host[:port][/db]
 *     unix://[[user]:password@]path[?db=n]
 *     embedded                             the socket `embedded`, a path
 * User and password may be percent-encoded.  0, or SD_EINVALID with *why: a
 * constant, so that no secret gets into a log.  On error *out is undefined. */
int redis_url_parse(struct redis_url *out, const char *url,
                    const char *embedded, const char **why);

#endif
