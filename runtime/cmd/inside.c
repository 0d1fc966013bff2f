/* inside.c - see inside.h. */
#include "cmd/inside.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proc/ctl.h"

enum {
    READ_MAX = 65536
};

int inside_open(struct inside *s, unsigned worker)
{
    char line[32];
    int fd;

    *s = (struct inside){0};
    snprintf(line, sizeof(line), "attach %u", worker);
    fd = ctl_tell(line);
    if (fd < 0)
        return fd;
    s->fd = fd;
    return 0;
}

void inside_close(struct inside *s)
{
    if (s->fd > 0)
        close(s->fd);
    buf_fini(&s->in);
    *s = (struct inside){0};
}

int inside_send(struct inside *s, struct slice line)
{
    struct buf text = {0};
    struct slice rest;
    int err = 0;

    buf_append(&text, line.p, line.len);
    buf_append_str(&text, "\n");
    rest = buf_slice(&text);
    while (rest.len > 0 && err == 0) {
        ssize_t n = send(s->fd, rest.p, rest.len, MSG_NOSIGNAL);

        if (n > 0)
            rest = slice_skip(rest, (size_t)n);
        else if (errno != EINTR)
            err = -errno;
    }
    buf_fini(&text);
    return err;
}

static int read_more(struct inside *s, int ms)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    ssize_t n;
    int ready = poll(&p, 1, ms);

    if (ready == 0)
        return SD_ETIMEOUT;
    if (ready < 0)
        return errno == EINTR ? 0 : -errno;
    n = recv(s->fd, buf_reserve(&s->in, READ_MAX), READ_MAX, 0);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (n == 0)
        return SD_ECLOSED;
    buf_commit(&s->in, (size_t)n);
    return 0;
}

int inside_line(struct inside *s, struct slice *line, int ms)
{
    uint64_t until = clock_ms() + (uint64_t)(ms > 0 ? ms : 0), now;

    buf_consume(&s->in, s->used);
    s->used = 0;
    for (;;) {
        struct slice all = buf_slice(&s->in);
        const char *end = memchr(all.p, '\n', all.len);
        int err;

        if (end != NULL) {
            *line = slice_make(all.p, (size_t)(end - all.p));
            s->used = line->len + 1;
            return 0;
        }
        now = clock_ms();
        err = read_more(s, ms < 0 ? -1 : now < until ? (int)(until - now) : 0);
        if (err < 0)
            return err;
    }
}

int inside_greeting(struct inside *s, struct row *who, int ms)
{
    struct buf scratch = {0};
    struct slice line;
    struct json j;
    int err = inside_line(s, &line, ms);

    *who = (struct row){0};
    if (err < 0)
        return err;
    json_init(&j, line, &scratch);
    if (json_next(&j) != JSON_MAP || !row_read(who, &j))
        err = SD_EPROTO;
    else if (row_get(who, "error")[0] != '\0')
        err = SD_EUNAVAILABLE;
    buf_fini(&scratch);
    return err;
}
