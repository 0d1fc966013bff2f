/* watchdog.c - see watchdog.h.
 *
 * A timer on the CPU clock of this thread ticks some forty times in max_run
 * of work; an idle process has no ticks.  Entering Lua is a store: `ticks`
 * begins at 0.  The first tick of a run notes the clock, and one that sees the
 * limit of the run burnt since then arms the hook: so a run gets between that
 * and a tick more, and no clock is read but at ticks.
 *
 * An armed hook is called before every instruction of the interpreter.
 * Compiled code does not look at hooks, but when LuaJIT's profiler was started
 * in its line mode, it looks at each new line whether a sample is due, and
 * leaves for the interpreter if so.  That is all we want of it: see
 * vm/profiler.h.  A timer of POSIX ends with exec and is not inherited by
 * fork, so children have nothing of it, and its signal comes to this thread,
 * whatever threads libuv has.
 *
 * What the hook raises must not be heard by the handler of some xpcall, which
 * runs where no hook is called and might loop itself.  Lua has one error that
 * passes by all handlers, "not enough memory", so the hook lets an allocation
 * fail; the words for it are kept here, for lua/sd/fault.lua to ask.  The hook
 * stays armed and raises again at each instruction of a script, so that
 * `while true do pcall(f) end` ends too.
 *
 * A full heap is told in the same way, for LuaJIT may crash when a trace, or
 * what restores the stack behind one, is refused a block: the heap grants some
 * more and calls us, and the hook raises where no trace is (on_full()).
 *
 * Not to be stopped: C that does not return (string.find with a hostile
 * pattern), and a loop in __gc, where LuaJIT calls no hooks.  For these the
 * master looks at the worker (proc/stall.h). */
#include "vm/watchdog.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "vm/heap.h"
#include "vm/profiler.h"
#include "vm/state.h"

enum {
    TICKS = 40, /* in max_run, about */
    TICK_LEAST = 4,
    TICK_MOST = 25,
    PATIENCE = 100000,
    TEXT = 512,
    STACK = 2048
};

#define MS 1000000u /* ns */

enum run_state {
    RUN_FREE,
    RUN_ARMED,  /* the hook is called at each instruction */
    RUN_RAISED, /* the same, and the error is on its way out */
    RUN_STOPPED /* control is back; the words are kept */
};

static struct {
    bool is_open;
    lua_State *owner; /* of the profiler; NULL: nobody */
    timer_t timer;
    uint64_t count;

    /* Of the run; the handler reads and writes these. */
    lua_State *volatile L; /* the thread it entered on */
    volatile unsigned depth;
    volatile uint64_t limit; /* ms; 0: none */
    volatile unsigned ticks;
    volatile uint64_t since; /* the clock at its first tick */
    volatile sig_atomic_t state;
    volatile unsigned patience; /* instructions of lua/sd that may be */
    bool is_full;               /* armed for its memory, not its time */

    char text[TEXT];
    char stack[STACK];
} dog;

/* Only the compiler must keep the order: the handler is on this thread. */
static void in_order(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

/* --- the hook ------------------------------------------------------------- */

static bool is_ours(const lua_Debug *ar)
{
    return strncmp(ar->source, "@sd/", 4) == 0 || ar->what[0] == 'C';
}

/* Functions of lua/sd keep books, so one that is running may finish, or clean
 * up behind the error; but not for ever. */
static bool is_let(lua_State *L)
{
    lua_Debug ar;

    if (dog.patience == 0 || !lua_getstack(L, 0, &ar))
        return false;
    lua_getinfo(L, "S", &ar);
    if (!is_ours(&ar))
        return false;
    dog.patience--;
    return true;
}

/* Is no function of a script left on the stack of the run? */
static bool is_back(lua_State *L)
{
    lua_Debug ar;
    int level = 0;

    if (L != dog.L)
        return false;
    while (lua_getstack(L, level++, &ar)) {
        lua_getinfo(L, "S", &ar);
        if (!is_ours(&ar))
            return false;
    }
    return true;
}

/* The line of the script, as co_raise() has it, and `what`. */
static void keep_text(lua_State *L, const char *what)
{
    lua_Debug ar;
    int level = 0, len = 0;

    while (lua_getstack(L, level++, &ar)) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && !is_ours(&ar)) {
            len = snprintf(dog.text, TEXT, "%s:%d: ", ar.short_src,
                           ar.currentline);
            break;
        }
    }
    snprintf(dog.text + len, TEXT - (size_t)len, "%s", what);
}

/* With the stack of who made the coroutine it ran in.  May raise. */
static void keep_stack(lua_State *L)
{
    size_t len;

    luaL_traceback(L, L, NULL, 0);
    len = (size_t)snprintf(dog.stack, STACK, "\n%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    if (L == dog.L || len >= STACK)
        return;
    luaL_traceback(L, dog.L, NULL, 0);
    snprintf(dog.stack + len, STACK - len, "\nin a coroutine of\n%s",
             lua_tostring(L, -1));
    lua_pop(L, 1);
}

static void disarm(enum run_state state)
{
    dog.state = state;
    in_order();
    lua_sethook(dog.L, NULL, 0, 0);
}

__attribute__((noreturn)) static void raise_unheard(lua_State *L)
{
    for (;;) { /* a finalizer may come first and take the failure */
        heap_fail_next(vm_of(L)->heap);
        lua_newuserdata(L, 1);
    }
}

/* Lua does not collect when it is out of memory, but gives up.  Here it does,
 * and only if that does not help, who has asked gets the error, once. */
static void on_full_count(lua_State *L)
{
    enum garbage_room room = garbage_make_room(L);

    if (room == GARBAGE_SOON)
        return;
    if (room == GARBAGE_ROOM) {
        disarm(RUN_FREE);
        return;
    }
    dog.stack[0] = '\0';
    keep_text(L, "not enough memory");
    disarm(RUN_STOPPED);
    raise_unheard(L);
}

static void on_run_count(lua_State *L)
{
    char what[128];

    if (dog.state == RUN_ARMED) {
        dog.state = RUN_RAISED;
        dog.count++;
        dog.stack[0] = '\0';
        snprintf(what, sizeof(what),
                 "stopped: it ran for %.6g s without waiting (server.max_run)",
                 (double)dog.limit / 1000);
        keep_text(L, what);
        keep_stack(L);
    }
    raise_unheard(L);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    if (dog.state == RUN_RAISED && is_back(L)) {
        disarm(RUN_STOPPED);
        dog.ticks = 0; /* what lua/sd says and asks now is a run of its own */
        return;
    }
    if (is_let(L))
        return;
    if (dog.is_full)
        on_full_count(L);
    else
        on_run_count(L);
}

/* --- the signal ----------------------------------------------------------- */

static void call_hook(void)
{
    lua_sethook(dog.L, on_count, LUA_MASKCOUNT, 1);
    if (dog.owner != NULL)
        profiler_sample();
}

static void arm(bool is_full)
{
    if (dog.state != RUN_RAISED && dog.state != RUN_ARMED) {
        dog.state = RUN_ARMED;
        dog.patience = PATIENCE;
    }
    dog.is_full = is_full;
    call_hook();
}

/* From the allocator: the heap is full, and what asks may be a compiled trace
 * or the compiler, which do not survive a refusal. */
static void on_full(void *arg)
{
    (void)arg;
    if (dog.depth > 0 && dog.state != RUN_RAISED && dog.state != RUN_ARMED)
        arm(true);
}

static void on_tick(int signum)
{
    int kept = errno;
    uint64_t now;

    (void)signum;
    if (dog.depth == 0 || dog.limit == 0)
        return;
    now = cpu_ns();
    if (dog.ticks++ == 0)
        dog.since = now;
    else if (now - dog.since >= dog.limit * MS)
        arm(false);
    errno = kept;
}

static void start_timer(void)
{
    struct sigevent to = {.sigev_notify = SIGEV_THREAD_ID,
                          .sigev_signo = SIGPROF};
    int rc;

    to._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    rc = timer_create(CLOCK_THREAD_CPUTIME_ID, &to, &dog.timer);
    sd_assert(rc == 0);
}

static void set_pace(uint64_t max_run)
{
    uint64_t tick = max_run / TICKS;
    struct itimerspec pace = {0};

    tick = tick < TICK_LEAST ? TICK_LEAST : tick > TICK_MOST ? TICK_MOST : tick;
    pace.it_interval.tv_nsec = pace.it_value.tv_nsec = (long)(tick * MS);
    timer_settime(dog.timer, 0, &pace, NULL);
}

/* --- vms ------------------------------------------------------------------ */

static void disown(lua_State *L)
{
    if (L != dog.owner)
        return;
    profiler_stop(L);
    dog.owner = NULL;
}

/* From now on another thread may close it. */
void watchdog_forget(lua_State *L)
{
    heap_soften(vm_of(L)->heap, NULL, NULL);
    disown(L);
}

void watchdog_guard(lua_State *L)
{
    disown(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_FLUSH);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
}

static void own(lua_State *L, uint64_t max_run)
{
    set_pace(max_run);
    profiler_start(L, on_tick);
    dog.owner = L;
}

void watchdog_own(lua_State *L, uint64_t max_run)
{
    const char *jit = getenv("SD_JIT");

    sd_assert(dog.depth == 0);
    if (!dog.is_open || L == dog.owner)
        return;
    if (dog.owner != NULL)
        watchdog_guard(dog.owner);
    own(L, max_run);
    if (jit == NULL || strcmp(jit, "off") != 0)
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
}

void watchdog_watch(lua_State *L, uint64_t max_run)
{
    if (!dog.is_open) {
        profiler_take_signal(on_tick);
        start_timer();
        dog.is_open = true;
    }
    heap_soften(vm_of(L)->heap, on_full, NULL);
    if (dog.owner == NULL)
        own(L, max_run);
    else
        watchdog_guard(L);
}

/* --- runs ----------------------------------------------------------------- */

void watchdog_enter(lua_State *L, uint64_t limit)
{
    if (dog.depth == 0) {
        dog.L = L;
        dog.limit = limit;
        dog.ticks = 0;
        dog.state = RUN_FREE;
    }
    in_order();
    dog.depth++;
}

static bool is_armed(void)
{
    return dog.state == RUN_ARMED || dog.state == RUN_RAISED;
}

/* What C called protected may have been stopped; who called C shall end too. */
void watchdog_leave(void)
{
    sd_assert(dog.depth > 0);
    dog.depth--;
    in_order();
    if (!is_armed())
        return;
    if (dog.depth == 0)
        disarm(dog.state == RUN_RAISED ? RUN_STOPPED : RUN_FREE);
    else
        call_hook();
}

void watchdog_again(void)
{
    if (dog.depth > 0 && is_armed())
        call_hook();
}

bool watchdog_stopped(const char **text, const char **stack)
{
    *text = dog.text;
    *stack = dog.stack;
    return dog.state == RUN_RAISED || dog.state == RUN_STOPPED;
}

bool watchdog_take(const char **text, const char **stack)
{
    bool is_stopped = watchdog_stopped(text, stack);

    if (dog.state == RUN_STOPPED)
        dog.state = RUN_FREE;
    return is_stopped;
}

uint64_t watchdog_count(void)
{
    return dog.count;
}
