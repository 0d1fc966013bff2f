/* note.c - see note.h.
 *
 * Who is stuck cannot be asked by message, but a signal gets through, also to
 * what sleeps in the kernel.  So nothing is written down in advance but what
 * costs nothing: kind, port and conn of a call are in its coroutine anyway;
 * the name of a method is found out in Lua, by a packet's words, and is a
 * store into a table of one item, which a call that waits takes along.
 *
 * The handler runs at any instruction of this thread.  It only reads, but for
 * the stack of a Lua thread that nothing else uses: pushing there allocates
 * nothing and moves nothing.  Names of methods live as long as the vm, and the
 * table of conns does not grow while Lua runs.  A uid that Lua is just binding
 * could be read as it was freed: of whom no heartbeat comes for a second that
 * is one instruction in some 10^9. */
#include "vm/note.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "ipc/running.h"
#include "net/conn.h"
#include "vm/state.h"

static struct vms *volatile answering; /* NULL: none */

static void copy(char *out, size_t size, const char *s, size_t len)
{
    size_t n = len < size - 1 ? len : size - 1;

    memcpy(out, s, n);
    out[n] = '\0';
}

/* What lua/sd has written into core.running_method; NULL: nothing. */
static const char *method(const struct vm *vm)
{
    const char *name;

    lua_rawgeti(vm->now, 1, 1);
    name =
        lua_type(vm->now, -1) == LUA_TSTRING ? lua_tostring(vm->now, -1) : NULL;
    lua_pop(vm->now, 1);
    return name;
}

static const char *name_of(const struct co *co)
{
    bool has_method = co->what == RUNNING_PACKET || co->what == RUNNING_REQUEST;

    return co->name != NULL || !has_method ? co->name : method(co->vm);
}

static void describe(struct running_info *info, const struct co *co)
{
    const char *name = name_of(co);
    const struct conn *c = NULL;

    info->kind = co->what;
    info->port = co->port;
    if (name != NULL)
        copy(info->route, sizeof(info->route), name, strlen(name));
    if (co->conn != 0)
        c = vm_find_conn(co->vm, co->conn);
    if (c != NULL)
        copy(info->uid, sizeof(info->uid), conn_uid(c).p, conn_uid(c).len);
}

static void on_signal(int signum)
{
    const struct vms *a = answering;
    struct running_info info = {.told = clock_ms(), .port = RUNNING_NO_PORT};
    int kept = errno;

    (void)signum;
    if (a == NULL)
        return;
    if (a->running != NULL)
        describe(&info, a->running);
    else if (a->is_loading)
        info.kind = RUNNING_LOAD;
    running_tell(a->env.running, (uint16_t)a->env.epoch, &info);
    errno = kept;
}

void note_open(struct vms *a)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    if (a->env.running == NULL)
        return;
    answering = a;
    sigaction(RUNNING_SIGNAL, &sa, NULL);
}

void note_close(void)
{
    answering = NULL;
}

void note_wait(struct co *co)
{
    if (co->name == NULL)
        co->name = name_of(co);
}

/* Its own thread has the table at the bottom of its stack. */
void bind_note(lua_State *L)
{
    struct vm *vm = vm_of(L);

    vm->now = lua_newthread(L);
    luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_xmove(L, vm->now, 1);
    lua_setfield(L, -2, "running_method");
}
