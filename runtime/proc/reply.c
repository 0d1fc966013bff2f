/* reply.c - see reply.h.  Who does not read within PATIENCE gets no more. */
#include "proc/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/pollfd.h"
#include "loop/timer.h"

enum {
    PATIENCE = 5000 /* ms */
};

struct reply {
    struct list node;
    struct loop *loop;
    int fd;
    struct buf text;
    struct pollfd_watch *watch;
    struct timer timer;
};

static void reply_free(struct reply *r)
{
    timer_stop(r->loop, &r->timer);
    pollfd_close(&r->watch);
    close(r->fd);
    buf_fini(&r->text);
    list_del(&r->node);
    mem_free(r);
}

static void on_timer(struct timer *t)
{
    reply_free(list_entry(t, struct reply, timer));
}

static void on_ready(void *arg)
{
    struct reply *r = arg;
    struct slice s = buf_slice(&r->text);
    ssize_t n = send(r->fd, s.p, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n > 0)
        buf_consume(&r->text, (size_t)n);
    if (r->text.len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        reply_free(r);
}

void reply_send(struct list *all, struct loop *loop, int fd, struct buf *text)
{
    struct reply *r = mem_zalloc(sizeof(*r));

    r->loop = loop;
    r->fd = fd;
    r->text = *text;
    *text = (struct buf){0};
    r->timer.fn = on_timer;
    list_add(all, &r->node);
    if (pollfd_open(&r->watch, loop, fd, on_ready, r) < 0) {
        reply_free(r);
        return;
    }
    pollfd_want(r->watch, false);
    pollfd_want_write(r->watch, true);
    timer_start(loop, &r->timer, PATIENCE);
}

void reply_end(struct list *all)
{
    while (!list_empty(all))
        reply_free(list_entry(all->next, struct reply, node));
}
