/* profiler.c - see profiler.h.
 *
 * Started in line mode, the profiler has a check compiled in at each new line:
 * is a sample due?  That it is due is said by its signal handler, which it
 * keeps to itself; so it is taken from where it was installed, and called. */
#include "vm/profiler.h"

#include <luajit.h>
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

#include "base/assert.h"

/* LuaJIT's own handler. */
static profiler_handler *sample;

static void on_sample(void *arg, lua_State *L, int samples, int vmstate)
{
    (void)arg;
    (void)L;
    (void)samples;
    (void)vmstate;
}

void profiler_take_signal(profiler_handler *handler)
{
    struct sigaction ours = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigaction(SIGPROF, &ours, NULL);
}

/* Ours is there first, so that stopping puts it back: without any, the next
 * tick would end the process. */
void profiler_start(lua_State *L, profiler_handler *handler)
{
    static const struct itimerval none;
    struct sigaction theirs;

    profiler_take_signal(handler);
    luaJIT_profile_start(L, "li1000", on_sample, NULL);
    setitimer(ITIMER_PROF, &none, NULL);
    sigaction(SIGPROF, NULL, &theirs);
    sd_assert(theirs.sa_handler != handler);
    sample = theirs.sa_handler;
    profiler_take_signal(handler);
}

void profiler_stop(lua_State *L)
{
    luaJIT_profile_stop(L);
    sample = NULL;
}

void profiler_sample(void)
{
    if (sample != NULL)
        sample(SIGPROF);
}
