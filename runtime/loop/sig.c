/* sig.c - see sig.h. */
#include "loop/sig.h"

#include <uv.h>

#include "base/assert.h"
#include "base/mem.h"

#define SIG_MAGIC 0x516a1e55u

struct sig {
    unsigned magic;
    uv_signal_t uv;
    void (*fn)(void *arg, int signum);
    void *arg;
};

static void on_signal(uv_signal_t *uv, int signum)
{
    struct sig *s = uv->data;

    sd_check(s, SIG_MAGIC);
    s->fn(s->arg, signum);
}

static void on_close(uv_handle_t *handle)
{
    struct sig *s = handle->data;

    sd_check(s, SIG_MAGIC);
    s->magic = 0;
    mem_free(s);
}

int sig_open(struct sig **out, struct loop *l, int signum,
             void (*fn)(void *arg, int signum), void *arg)
{
    struct sig *s = mem_zalloc(sizeof(*s));
    int err;

    s->magic = SIG_MAGIC;
    s->fn = fn;
    s->arg = arg;
    s->uv.data = s;
    err = uv_signal_init(loop_uv(l), &s->uv);
    if (err < 0) {
        mem_free(s);
        return err;
    }
    err = uv_signal_start(&s->uv, on_signal, signum);
    if (err < 0) {
        uv_close((uv_handle_t *)&s->uv, on_close);
        return err;
    }
    uv_unref((uv_handle_t *)&s->uv);
    *out = s;
    return 0;
}

void sig_close(struct sig **sp)
{
    if (*sp == NULL)
        return;
    sd_check(*sp, SIG_MAGIC);
    uv_close((uv_handle_t *)&(*sp)->uv, on_close);
    *sp = NULL;
}
