/* console.c - see console.h.
 *
 * Whoever may attach may do anything here (he can evaluate Lua), so nothing
 * guards against malice; but a mistake of his must not hurt the worker.  What
 * he prints is cut when he does not read it, a request that does not end is
 * cancelled a second after its deadline, and writing never waits. */
#include "vm/console.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "loop/pollfd.h"
#include "loop/timer.h"
#include "net/figures.h"
#include "vm/looks.h"
#include "vm/state.h"

enum {
    CONSOLE_MAGIC = 0x636f6e73,
    READ_MAX = 16384,
    REQUEST_MAX = 256 << 10,
    UNREAD_MAX = 1 << 20,
    CANCEL_AFTER = 1000, /* ms behind the deadline of a request */
};

struct console {
    unsigned magic;
    struct list link;
    struct vm *vm;
    double number; /* what Lua knows it by */
    int fd;
    struct pollfd_watch *watch;
    struct buf in, out;
    size_t request; /* bytes of `in`: the line at hand, without its end */
    uint64_t co;    /* who runs it; 0: nobody */
    bool is_gone;   /* freed when that has ended */
    struct timer limit;
    struct loop_job next;
    struct busiest *busiest; /* once it was asked for */
};

static struct console *console_of(struct vm *vm, double number)
{
    struct list *it;

    list_each (it, &vm->consoles) {
        struct console *c = list_entry(it, struct console, link);

        if (c->number == number)
            return c;
    }
    return NULL;
}

static void console_free(struct console *c)
{
    struct loop *loop = c->vm->env.loop;

    timer_stop(loop, &c->limit);
    loop_undefer(&c->next);
    pollfd_close(&c->watch);
    close(c->fd);
    list_del(&c->link);
    buf_fini(&c->in);
    buf_fini(&c->out);
    busiest_free(&c->busiest);
    c->magic = 0;
    mem_free(c);
}

void consoles_close(struct vm *vm)
{
    while (!list_empty(&vm->consoles))
        console_free(list_entry(vm->consoles.next, struct console, link));
}

static void cancel(struct console *c)
{
    struct co *co = co_by_id(c->vm, c->co);

    if (co != NULL)
        co_cancel(co);
}

/* The client has gone, or shall. */
static void let_go(struct console *c)
{
    if (c->co == 0) {
        console_free(c);
        return;
    }
    c->is_gone = true;
    pollfd_close(&c->watch);
    cancel(c);
}

static void on_limit(struct timer *t)
{
    cancel(list_entry(t, struct console, limit));
}

/* --- writing -------------------------------------------------------------- */

/* What is left is written when the socket takes it; who is gone is noticed by
 * the read. */
static void flush(struct console *c)
{
    struct slice s = buf_slice(&c->out);
    ssize_t n = s.len > 0 ? send(c->fd, s.p, s.len, MSG_NOSIGNAL) : 0;

    if (n > 0)
        buf_consume(&c->out, (size_t)n);
    if (c->watch != NULL)
        pollfd_want_write(c->watch, c->out.len > 0);
}

/* A line; false: too much is unread. */
static bool say(struct console *c, struct slice line)
{
    if (c->is_gone || c->out.len + line.len > UNREAD_MAX)
        return false;
    buf_append(&c->out, line.p, line.len);
    buf_append_str(&c->out, "\n");
    flush(c);
    return true;
}

/* --- requests ------------------------------------------------------------- */

static void on_next(struct loop_job *job);

/* The Lua side says that it is done; where it could not, C does. */
static void request_ended(struct co *co, int status)
{
    struct console *c = console_of(co->vm, co->number);

    vm_log_end(co, status);
    sd_assert(c != NULL && c->co == co_id(co));
    c->co = 0;
    timer_stop(c->vm->env.loop, &c->limit);
    if (c->is_gone) {
        console_free(c);
        return;
    }
    if (status != 0)
        say(c, slice_str("{\"error\":\"not enough memory\",\"done\":false}"));
    loop_defer(c->vm->env.loop, &c->next);
}

static void run(struct console *c)
{
    uint64_t timeout = c->vm->env.conf->server.call_timeout;
    struct co *co =
        vm_enter(c->vm, c->vm->entry[ENTRY_CONSOLE], CO_WORK, timeout);

    if (co == NULL) {
        let_go(c);
        return;
    }
    co->on_end = request_ended;
    co->number = c->number;
    c->co = co_id(co);
    if (timeout > 0)
        timer_start(c->vm->env.loop, &c->limit, timeout + CANCEL_AFTER);
    lua_pushnumber(co->L, c->number);
    co_start(co, 1);
}

/* Run the next whole line, if there is one and nothing runs. */
static void look_for_line(struct console *c)
{
    struct slice s = buf_slice(&c->in);
    const char *end;

    if (c->co != 0)
        return;
    end = memchr(s.p, '\n', s.len);
    if (end != NULL) {
        c->request = (size_t)(end - s.p);
        run(c);
    } else if (s.len > REQUEST_MAX) {
        let_go(c);
    }
}

static void on_next(struct loop_job *job)
{
    look_for_line(list_entry(job, struct console, next));
}

static void on_ready(void *arg)
{
    struct console *c = arg;
    ssize_t n;

    sd_check(c, CONSOLE_MAGIC);
    flush(c);
    if (c->in.len > REQUEST_MAX + READ_MAX) {
        let_go(c);
        return;
    }
    n = recv(c->fd, buf_reserve(&c->in, READ_MAX), READ_MAX, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        let_go(c);
        return;
    }
    buf_commit(&c->in, (size_t)n);
    look_for_line(c);
}

static void greet(struct console *c)
{
    const struct vm_env *env = &c->vm->env;
    struct buf line = {0};

    buf_printf(&line, "{\"worker\":%u,\"pid\":%d,\"generation\":%u,\"node\":",
               env->index, (int)getpid(), env->generation);
    if (json_write_string(&line, slice_str(env->node)) < 0)
        buf_append_str(&line, "\"\"");
    buf_append_str(&line, "}");
    say(c, buf_slice(&line));
    buf_fini(&line);
}

void vms_console(struct vms *a, int fd)
{
    struct vm *vm = vms_now(a);
    struct console *c = mem_zalloc(sizeof(*c));
    static double last;

    sd_check(vm, VM_MAGIC);
    c->magic = CONSOLE_MAGIC;
    c->vm = vm;
    c->number = ++last;
    c->fd = fd;
    c->limit.fn = on_limit;
    c->next.fn = on_next;
    list_add(&vm->consoles, &c->link);
    if (pollfd_open(&c->watch, vm->env.loop, fd, on_ready, c) < 0) {
        console_free(c);
        return;
    }
    greet(c);
}

/* --- for lua/sd/console.lua ----------------------------------------------- */

/* core.console_take(number) -> the line at hand */
static int l_take(lua_State *L)
{
    struct console *c = console_of(vm_of(L), luaL_checknumber(L, 1));

    if (c == NULL)
        return 0;
    lua_pushlstring(L, buf_slice(&c->in).p, c->request);
    buf_consume(&c->in, c->request + 1);
    return 1;
}

/* core.console_write(number, line) -> was there room for it? */
static int l_write(lua_State *L)
{
    struct console *c = console_of(vm_of(L), luaL_checknumber(L, 1));
    size_t len;
    const char *p = luaL_checklstring(L, 2, &len);

    lua_pushboolean(L, c != NULL && say(c, slice_make(p, len)));
    return 1;
}

/* core.console_is_open(number) */
static int l_is_open(lua_State *L)
{
    lua_pushboolean(L, console_of(vm_of(L), luaL_checknumber(L, 1)) != NULL);
    return 1;
}

/* core.console_busiest(number, max) -> the conns with the most packets since
 * this console asked last: as core.look_conns() */
static int l_busiest(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct console *c = console_of(vm, luaL_checknumber(L, 1));
    struct busy_conn list[LOOKS_MAX];
    lua_Integer max = luaL_checkinteger(L, 2);
    unsigned n = 0;

    if (c != NULL && vm->env.net != NULL) {
        if (c->busiest == NULL)
            c->busiest = busiest_new();
        n = busiest_look(c->busiest, vm->env.net, list,
                         max < 1           ? 1
                         : max < LOOKS_MAX ? (unsigned)max
                                           : LOOKS_MAX);
    }
    lua_createtable(L, (int)n, 0);
    for (unsigned i = 0; i < n; i++) {
        looks_push_conn(L, list[i].conn);
        lua_pushnumber(L, list[i].packets);
        lua_setfield(L, -2, "packets");
        lua_pushnumber(L, (double)list[i].bytes);
        lua_setfield(L, -2, "bytes");
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"console_take", l_take},
    {"console_write", l_write},
    {"console_is_open", l_is_open},
    {"console_busiest", l_busiest},
    {NULL, NULL},
};

void bind_console(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
