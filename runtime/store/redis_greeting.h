/* redis_greeting.h - the first commands of a connection: AUTH, SELECT, PING.
 *
 * Only a server that has answered all of them is used: one that hangs takes
 * connections but answers nothing, one that loads its data refuses. */
#ifndef SD_STORE_REDIS_GREETING_H
#define SD_STORE_REDIS_GREETING_H

#include <stddef.h>

#include "base/buf.h"
#include "store/redis_url.h"

struct redisReply;

enum redis_greeting_step {
    GREET_AUTH,
    GREET_SELECT,
    GREET_PING,
    GREET_DONE
};

struct redis_greeting {
    const struct redis_url *url;
    enum redis_greeting_step step; /* whose reply is next */
};

/* Append the commands that `url` asks for; borrows it until the last reply. */
void redis_greeting_begin(struct redis_greeting *g, const struct redis_url *url,
                          struct buf *out);

/* The next reply.  1 when it was the last one, 0 when more are to come, or
 * SD_EREFUSED with a text for the log in `why`. */
int redis_greeting_take(struct redis_greeting *g,
                        const struct redisReply *reply, char *why, size_t size);

#endif
