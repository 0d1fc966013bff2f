/* inside.c - see inside.h. */
#include "cmd/inside.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "cmd/row.h"
#include "proc/ctl.h"

enum {
    READ_MAX = 65536
};

/* The master has refused when the answer has an error. */
static int check_greeting(struct slice line, char *why, size_t size)
{
    struct buf scratch = {0};
    struct row row = {0};
    struct json j;
    int err = SD_EPROTO;

    json_init(&j, line, &scratch);
    if (json_next(&j) == JSON_MAP && row_read(&row, &j))
        err = row_get(&row, "error")[0] != '\0' ? SD_EUNAVAILABLE : 0;
    snprintf(why, size, "%s",
             err == SD_EUNAVAILABLE ? row_get(&row, "error") : err_str(err));
    buf_fini(&scratch);
    return err;
}

int inside_open(struct inside *s, unsigned worker, char *why, size_t size)
{
    char line[32];
    int fd, err;

    *s = (struct inside){0};
    snprintf(line, sizeof(line), "attach %u", worker);
    fd = ctl_ask(line, &s->in);
    if (fd < 0) {
        snprintf(why, size, "%s", err_str(fd));
        buf_fini(&s->in);
        return fd;
    }
    s->fd = fd;
    err = check_greeting(buf_slice(&s->in), why, size);
    if (err < 0)
        inside_close(s);
    return err;
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
        else if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = s->fd, .events = POLLOUT}, 1, -1);
        else if (errno != EINTR)
            err = -errno;
    }
    buf_fini(&text);
    return err;
}

/* The worker has made the socket one that does not wait. */
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
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return SD_ECLOSED;
    buf_commit(&s->in, (size_t)n);
    return 0;
}

int inside_line(struct inside *s, struct slice *line, int ms)
{
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
        err = read_more(s, ms);
        if (err < 0)
            return err;
    }
}
