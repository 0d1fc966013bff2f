/* pollfd.c - see pollfd.h. */
#include "loop/pollfd.h"

#include <uv.h>

#include "base/assert.h"
#include "base/mem.h"

#define POLLFD_MAGIC 0x9011fd00u

struct pollfd_watch {
    unsigned magic;
    uv_poll_t uv;
    void (*fn)(void *arg);
    void *arg;
    int events;
};

static void on_ready(uv_poll_t *uv, int status, int events)
{
    struct pollfd_watch *p = uv->data;

    /* An error on the descriptor shows when fn reads it. */
    (void)status;
    (void)events;
    sd_check(p, POLLFD_MAGIC);
    p->fn(p->arg);
}

static void on_close(uv_handle_t *handle)
{
    struct pollfd_watch *p = handle->data;

    sd_check(p, POLLFD_MAGIC);
    p->magic = 0;
    mem_free(p);
}

int pollfd_open(struct pollfd_watch **out, struct loop *l, int fd,
                void (*fn)(void *arg), void *arg)
{
    struct pollfd_watch *p = mem_zalloc(sizeof(*p));
    int err;

    p->magic = POLLFD_MAGIC;
    p->fn = fn;
    p->arg = arg;
    p->uv.data = p;
    err = uv_poll_init(loop_uv(l), &p->uv, fd);
    if (err < 0) {
        mem_free(p);
        return err;
    }
    pollfd_want(p, true);
    *out = p;
    return 0;
}

static void set_event(struct pollfd_watch *p, int event, bool want)
{
    sd_check(p, POLLFD_MAGIC);
    p->events = want ? p->events | event : p->events & ~event;
    if (p->events != 0)
        uv_poll_start(&p->uv, p->events, on_ready);
    else
        uv_poll_stop(&p->uv);
}

void pollfd_want(struct pollfd_watch *p, bool want)
{
    set_event(p, UV_READABLE, want);
}

void pollfd_want_write(struct pollfd_watch *p, bool want)
{
    set_event(p, UV_WRITABLE, want);
}

void pollfd_close(struct pollfd_watch **pp)
{
    if (*pp == NULL)
        return;
    sd_check(*pp, POLLFD_MAGIC);
    uv_close((uv_handle_t *)&(*pp)->uv, on_close);
    *pp = NULL;
}
