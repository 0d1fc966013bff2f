/* work.c - see work.h.  libuv's threads have the stack size of the process's
 * limit, so Lua's finalizers find what they find on the loop's thread. */
#include "loop/work.h"

#include <uv.h>

#include "base/assert.h"
#include "base/mem.h"

struct work {
    uv_work_t req;
    void (*fn)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void on_thread(uv_work_t *req)
{
    struct work *w = req->data;

    w->fn(w->arg);
}

static void on_done(uv_work_t *req, int status)
{
    struct work *w = req->data;

    sd_assert(status == 0); /* nobody cancels it */
    w->done(w->arg);
    mem_free(w);
}

void work_start(struct loop *l, void (*fn)(void *arg), void (*done)(void *arg),
                void *arg)
{
    struct work *w = mem_zalloc(sizeof(*w));
    int err;

    w->req.data = w;
    w->fn = fn;
    w->done = done;
    w->arg = arg;
    err = uv_queue_work(loop_uv(l), &w->req, on_thread, on_done);
    sd_assert(err == 0);
}
