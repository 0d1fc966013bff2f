/* redis_reader.h - hiredis' reply parser with a limit on memory.
 *
 * What a server declares is not believed: lists and strings are counted
 * against the limit before they are allocated. */
#ifndef SD_STORE_REDIS_READER_H
#define SD_STORE_REDIS_READER_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

struct redis_reader {
    redisReader *reader;
    redisReplyObjectFunctions *plain; /* hiredis' own, which make the objects */
    redisReplyObjectFunctions counting;
    size_t used, limit;
    bool is_over;
};

/* Opened where it will stay: hiredis keeps pointers into it. */
void redis_reader_init(struct redis_reader *r, size_t limit);
void redis_reader_fini(struct redis_reader *r);

/* Bytes from the server.  0 or SD_ETOOLARGE. */
int redis_reader_feed(struct redis_reader *r, const void *p, size_t n);

/* The next whole reply (free it by freeReplyObject()), NULL when more bytes
 * are needed.  0, SD_ETOOLARGE, or SD_EPROTO with *why, which lives as long
 * as the reader; after an error the reader is of no use. */
int redis_reader_next(struct redis_reader *r, redisReply **out,
                      const char **why);

/* Count anew: the replies so far are no longer held. */
void redis_reader_forget(struct redis_reader *r);

#endif
