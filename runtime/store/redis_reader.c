/* redis_reader.c - see redis_reader.h.
 *
 * hiredis makes reply objects through a table of functions.  Ours count and
 * then call the original ones; returning NULL is taken for lack of memory,
 * which ends the reader, and `is_over` tells why it ended.  hiredis itself
 * refuses replies nested deeper than seven. */
#include "store/redis_reader.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"

enum {
    OBJECT = sizeof(redisReply) + 16 /* with the allocator's share */
};

static bool count(const redisReadTask *task, size_t n)
{
    struct redis_reader *r = task->privdata;

    if (n > r->limit || r->used > r->limit - n) {
        r->is_over = true;
        return false;
    }
    r->used += n;
    return true;
}

static struct redis_reader *of(const redisReadTask *task)
{
    return task->privdata;
}

static void *make_string(const redisReadTask *task, char *p, size_t len)
{
    if (!count(task, len + OBJECT))
        return NULL;
    return of(task)->plain->createString(task, p, len);
}

static void *make_array(const redisReadTask *task, int n)
{
    size_t room = n > 0 ? (size_t)n * (sizeof(void *) + OBJECT) : 0;

    if (!count(task, room + OBJECT))
        return NULL;
    of(task)->used -=
        n > 0 ? (size_t)n * OBJECT : 0; /* they count themselves */
    return of(task)->plain->createArray(task, n);
}

static void *make_integer(const redisReadTask *task, long long n)
{
    return count(task, OBJECT) ? of(task)->plain->createInteger(task, n) : NULL;
}

static void *make_nil(const redisReadTask *task)
{
    return count(task, OBJECT) ? of(task)->plain->createNil(task) : NULL;
}

void redis_reader_init(struct redis_reader *r, size_t limit)
{
    memset(r, 0, sizeof(*r));
    r->limit = limit;
    r->reader = redisReaderCreate();
    sd_assert(r->reader != NULL);
    r->plain = r->reader->fn;
    r->counting = (redisReplyObjectFunctions){
        .createString = make_string,
        .createArray = make_array,
        .createInteger = make_integer,
        .createNil = make_nil,
        .freeObject = r->plain->freeObject,
    };
    r->reader->fn = &r->counting;
    r->reader->privdata = r;
}

void redis_reader_fini(struct redis_reader *r)
{
    if (r->reader != NULL)
        redisReaderFree(r->reader);
    r->reader = NULL;
}

int redis_reader_feed(struct redis_reader *r, const void *p, size_t n)
{
    if (r->reader->len - r->reader->pos + n > r->limit) {
        r->is_over = true;
        return SD_ETOOLARGE;
    }
    if (redisReaderFeed(r->reader, p, n) != REDIS_OK)
        return SD_ETOOLARGE; /* the only way: memory */
    return 0;
}

int redis_reader_next(struct redis_reader *r, redisReply **out,
                      const char **why)
{
    void *reply = NULL;

    if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
        *why = r->reader->errstr;
        return r->is_over ? SD_ETOOLARGE : SD_EPROTO;
    }
    *out = reply;
    return 0;
}

void redis_reader_forget(struct redis_reader *r)
{
    r->used = 0;
}
