/* redisclient.c - the Redis client of store/ without Lua, driven by lines.
 *
 *     redisclient URL < lines > answers
 *
 *     call TAG TIMEOUT OWN word... [| word...]   commands of one call
 *     many N word...                             N calls, tags 1 to N
 *     blob SIZE                                  SET and GET of random bytes
 *     load WINDOW TIMEOUT / stop                 echoes, always WINDOW at once
 *     abandon TAG / writes / quit
 *
 * Lines that one read brings are issued in one turn of the loop.  Answers:
 *     TAG word reply...        `word` is "ok" or the error's word
 *     load issued ok mismatched unavailable closed timeout other twice
 * In replies a space is "_", nil "(nil)", an error "!text", a list "[a,b]". */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "loop/loop.h"
#include "loop/pollfd.h"
#include "loop/timer.h"
#include "store/redis.h"
#include "store/resp.h"

enum {
    LOAD_MAX = 1 << 20,
    RETRY_MS = 2,
    WORDS_MAX = 64
};

/* The linker sends every send() of the client here. */
ssize_t __real_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags);

static unsigned writes;

ssize_t __wrap_send(int fd, const void *p, size_t n, int flags)
{
    writes++;
    return __real_send(fd, p, n, flags);
}

static struct loop *loop;
static struct redis *redis;
static struct buf input;
static char *blob;
static size_t blob_size;

static struct {
    bool is_on;
    unsigned window, in_flight;
    uint64_t timeout, issued;
    uint64_t ok, mismatched, unavailable, closed, timed_out, other, twice;
    struct timer retry;
    unsigned char ended[LOAD_MAX];
} load;

static void print_reply(const redisReply *r)
{
    size_t i;

    switch (r->type) {
    case REDIS_REPLY_NIL:
        printf("(nil)");
        return;
    case REDIS_REPLY_INTEGER:
        printf("%lld", r->integer);
        return;
    case REDIS_REPLY_ARRAY:
        putchar('[');
        for (i = 0; i < r->elements; i++) {
            if (i > 0)
                putchar(',');
            print_reply(r->element[i]);
        }
        putchar(']');
        return;
    default:
        if (r->type == REDIS_REPLY_ERROR)
            putchar('!');
        for (i = 0; i < r->len; i++)
            putchar(r->str[i] == ' ' ? '_' : r->str[i]);
    }
}

static void on_done(void *arg, uint64_t tag, int err, redisReply **replies,
                    unsigned n)
{
    unsigned i;

    (void)arg;
    printf("%" PRIu64 " %s", tag, err == 0 ? "ok" : err_word(err));
    for (i = 0; i < n; i++) {
        putchar(' ');
        print_reply(replies[i]);
    }
    putchar('\n');
    fflush(stdout);
}

static void on_blob(void *arg, uint64_t tag, int err, redisReply **replies,
                    unsigned n)
{
    (void)arg;
    (void)tag;
    if (err < 0)
        printf("blob %s\n", err_word(err));
    else if (n == 2 && replies[1]->len == blob_size &&
             memcmp(replies[1]->str, blob, blob_size) == 0)
        printf("blob ok\n");
    else
        printf("blob differs\n");
    fflush(stdout);
}

static void do_blob(size_t size)
{
    struct buf out = {0};
    struct redis_call_args args = {.n = 2, .timeout = 60000, .done = on_blob};
    size_t i;
    int err;

    blob = mem_realloc(blob, size + 1);
    blob_size = size;
    for (i = 0; i < size; i++)
        blob[i] = (char)(i * 2654435761u >> 13);
    resp_put_head(&out, 3);
    resp_put_arg(&out, "SET", 3);
    resp_put_arg(&out, "blob", 4);
    resp_put_arg(&out, blob, size);
    resp_put_head(&out, 2);
    resp_put_arg(&out, "GET", 3);
    resp_put_arg(&out, "blob", 4);
    args.bytes = buf_slice(&out);
    err = redis_call(redis, &args);
    if (err < 0)
        on_blob(NULL, 0, err, NULL, 0);
    buf_fini(&out);
}

static void load_more(void);

static void print_load(void)
{
    printf("load %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
           " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           load.issued, load.ok, load.mismatched, load.unavailable, load.closed,
           load.timed_out, load.other, load.twice);
    fflush(stdout);
}

static void count_load(uint64_t tag, int err, redisReply **replies)
{
    if (load.ended[tag]++ > 0)
        load.twice++;
    if (err == SD_EUNAVAILABLE)
        load.unavailable++;
    else if (err == SD_ECLOSED)
        load.closed++;
    else if (err == SD_ETIMEOUT)
        load.timed_out++;
    else if (err < 0 || replies[0]->type != REDIS_REPLY_STRING)
        load.other++;
    else if (strtoull(replies[0]->str, NULL, 10) != tag)
        load.mismatched++;
    else
        load.ok++;
}

static void on_load(void *arg, uint64_t tag, int err, redisReply **replies,
                    unsigned n)
{
    (void)arg;
    (void)n;
    load.in_flight--;
    count_load(tag, err, replies);
    if (load.is_on)
        load_more();
    else if (load.in_flight == 0)
        print_load();
}

static void load_more(void)
{
    struct buf out = {0};
    char text[24];

    while (load.in_flight < load.window && load.issued < LOAD_MAX) {
        struct redis_call_args args = {.n = 1,
                                       .timeout = load.timeout,
                                       .done = on_load,
                                       .tag = load.issued};
        int n = snprintf(text, sizeof(text), "%" PRIu64, load.issued);

        buf_consume(&out, out.len);
        resp_put_head(&out, 2);
        resp_put_arg(&out, "ECHO", 4);
        resp_put_arg(&out, text, (size_t)n);
        args.bytes = buf_slice(&out);
        if (redis_call(redis, &args) < 0)
            break;
        load.issued++;
        load.in_flight++;
    }
    buf_fini(&out);
    if (load.in_flight < load.window)
        timer_start(loop, &load.retry, RETRY_MS);
}

static void on_retry(struct timer *timer)
{
    (void)timer;
    if (load.is_on)
        load_more();
}

static void do_many(char **words, unsigned n)
{
    struct buf out = {0};
    struct redis_call_args args = {.n = 1, .timeout = 5000, .done = on_done};
    uint64_t count = strtoull(words[0], NULL, 10);
    unsigned i;

    resp_put_head(&out, n - 1);
    for (i = 1; i < n; i++)
        resp_put_arg(&out, words[i], strlen(words[i]));
    args.bytes = buf_slice(&out);
    for (args.tag = 1; args.tag <= count; args.tag++)
        sd_assert(redis_call(redis, &args) == 0);
    buf_fini(&out);
}

/* words: TAG TIMEOUT OWN word... [| word...] */
static void do_call(char **words, unsigned n)
{
    struct buf out = {0};
    struct redis_call_args args = {.done = on_done};
    unsigned i, from = 3;
    int err;

    sd_assert(n > 3);
    args.tag = strtoull(words[0], NULL, 10);
    args.timeout = strtoull(words[1], NULL, 10);
    args.own = words[2][0] == '1';
    while (from < n) {
        unsigned end = from;

        while (end < n && strcmp(words[end], "|") != 0)
            end++;
        resp_put_head(&out, end - from);
        for (i = from; i < end; i++)
            resp_put_arg(&out, words[i], strlen(words[i]));
        args.n++;
        from = end + 1;
    }
    args.bytes = buf_slice(&out);
    err = redis_call(redis, &args);
    if (err < 0)
        on_done(NULL, args.tag, err, NULL, 0);
    buf_fini(&out);
}

static void do_line(char *line)
{
    char *words[WORDS_MAX] = {NULL}, *save = NULL, *word;
    static char none[] = "";
    unsigned n = 0;

    for (word = strtok_r(line, " ", &save); word != NULL && n < WORDS_MAX;
         word = strtok_r(NULL, " ", &save))
        words[n++] = word;
    if (n == 0)
        return;
    while (n < 3)
        words[n++] = none;
    if (strcmp(words[0], "call") == 0) {
        do_call(words + 1, n - 1);
    } else if (strcmp(words[0], "many") == 0) {
        do_many(words + 1, n - 1);
    } else if (strcmp(words[0], "blob") == 0) {
        do_blob(strtoull(words[1], NULL, 10));
    } else if (strcmp(words[0], "load") == 0) {
        load.is_on = true;
        load.window = (unsigned)strtoul(words[1], NULL, 10);
        load.timeout = strtoull(words[2], NULL, 10);
        load_more();
    } else if (strcmp(words[0], "stop") == 0) {
        load.is_on = false;
        timer_stop(loop, &load.retry);
        if (load.in_flight == 0)
            print_load();
    } else if (strcmp(words[0], "abandon") == 0) {
        redis_abandon(redis, strtoull(words[1], NULL, 10));
    } else if (strcmp(words[0], "writes") == 0) {
        printf("writes %u\n", writes);
        fflush(stdout);
    } else {
        loop_stop(loop);
    }
}

static void on_input(void *arg)
{
    char *room = buf_reserve(&input, 65536), *end;
    ssize_t n = read(STDIN_FILENO, room, 65536);

    (void)arg;
    if (n <= 0) {
        loop_stop(loop);
        return;
    }
    buf_commit(&input, (size_t)n);
    while (input.len > 0 &&
           (end = memchr(input.p + input.head, '\n', input.len)) != NULL) {
        char *line = input.p + input.head;

        *end = '\0';
        do_line(line);
        buf_consume(&input, (size_t)(end - line) + 1);
    }
}

int main(int argc, char **argv)
{
    struct pollfd_watch *watch = NULL;
    const char *why = "usage: redisclient URL";

    if (argc != 2)
        goto fail;
    sd_assert(loop_open(&loop) == 0);
    load.retry.fn = on_retry;
    if (redis_open(&redis, loop, "spec", argv[1], NULL, &why) < 0)
        goto fail;
    sd_assert(pollfd_open(&watch, loop, STDIN_FILENO, on_input, NULL) == 0);
    loop_run(loop);
    timer_stop(loop, &load.retry);
    redis_close(&redis);
    pollfd_close(&watch);
    loop_close(&loop);
    buf_fini(&input);
    mem_free(blob);
    return 0;

fail:
    fprintf(stderr, "%s\n", why);
    loop_close(&loop);
    return 2;
}
