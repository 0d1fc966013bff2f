/* ask.c - see ask.h. */
#include "proc/ask.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"
#include "loop/pollfd.h"
#include "proc/ctl.h"

enum {
    ANSWER_MAX = 1 << 20, /* bytes */
    READ_MAX = 4096
};

void ask_end(struct ask *a)
{
    if (a->fd <= 0)
        return;
    timer_stop(a->loop, &a->timer);
    pollfd_close(&a->watch);
    close(a->fd);
    a->fd = 0;
    buf_fini(&a->in);
}

bool ask_is_on(const struct ask *a)
{
    return a->fd > 0;
}

/* The owner may ask again at once, so the answer is kept aside meanwhile. */
static void finish(struct ask *a, size_t len)
{
    struct buf in = a->in;

    a->in = (struct buf){0};
    ask_end(a);
    a->on_answer(a, slice_make(buf_slice(&in).p, len));
    buf_fini(&in);
}

static void on_timer(struct timer *t)
{
    finish(list_entry(t, struct ask, timer), 0);
}

static void on_readable(void *arg)
{
    struct ask *a = arg;
    ssize_t n = recv(a->fd, buf_reserve(&a->in, READ_MAX), READ_MAX, 0);
    struct slice all;
    const char *end;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        buf_commit(&a->in, (size_t)n);
    all = buf_slice(&a->in);
    end = all.len > 0 ? memchr(all.p, '\n', all.len) : NULL;
    if (end != NULL)
        finish(a, (size_t)(end - all.p));
    else if (n <= 0 || a->in.len > ANSWER_MAX)
        finish(a, 0);
}

void ask_begin(struct ask *a, const char *line, unsigned ms)
{
    int fd = ctl_tell_soon(line);

    sd_assert(!ask_is_on(a));
    a->timer.fn = on_timer;
    if (fd > 0 && pollfd_open(&a->watch, a->loop, fd, on_readable, a) < 0) {
        close(fd);
        fd = -1;
    }
    if (fd <= 0) {
        finish(a, 0);
        return;
    }
    a->fd = fd;
    timer_start(a->loop, &a->timer, ms);
}
