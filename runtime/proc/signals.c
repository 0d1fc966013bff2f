/* signals.c - see signals.h.
 *
 * The kernel drops a signal to the first process of a container that has no
 * handler for it: those that come before there is one are blocked instead. */
#include "proc/signals.h"

#include <signal.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "loop/sig.h"

#define SIGNALS_MAGIC 0x7369676eu

static const int answered[] = {SIGTERM, SIGINT,  SIGQUIT, SIGHUP,
                               SIGUSR1, SIGUSR2, SIGCHLD};

enum {
    COUNT = sizeof(answered) / sizeof(answered[0])
};

struct signals {
    unsigned magic;
    struct sig *sig[COUNT];
};

static void mask(int how)
{
    sigset_t set;

    if (getpid() != 1)
        return;
    sigemptyset(&set);
    for (unsigned i = 0; i < COUNT; i++)
        sigaddset(&set, answered[i]);
    sigprocmask(how, &set, NULL);
}

void signals_hold(void)
{
    mask(SIG_BLOCK);
}

int signals_open(struct signals **out, struct loop *l,
                 void (*fn)(void *arg, int signum), void *arg)
{
    struct signals *s = mem_zalloc(sizeof(*s));
    int err = 0;

    s->magic = SIGNALS_MAGIC;
    *out = s;
    for (unsigned i = 0; i < COUNT && err == 0; i++)
        err = sig_open(&s->sig[i], l, answered[i], fn, arg);
    mask(SIG_UNBLOCK);
    return err;
}

void signals_close(struct signals **sp)
{
    struct signals *s = *sp;

    if (s == NULL)
        return;
    sd_check(s, SIGNALS_MAGIC);
    for (unsigned i = 0; i < COUNT; i++)
        sig_close(&s->sig[i]);
    s->magic = 0;
    mem_free(s);
    *sp = NULL;
}
