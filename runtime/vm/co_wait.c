/* co_wait.c - see co_wait.h.
 *
 * A ticket names (index, wait): co_wake() accepts it once, because each wait
 * of a coroutine and each use of its place in the pool raises `wait`. */
#include "vm/co_wait.h"

#include "base/assert.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "vm/state.h"

char co_marks[4];

struct ticket co_next_ticket(const struct co *co)
{
    return (struct ticket){co->index, co->wait + 1};
}

/* Why L cannot wait here, or NULL when it can. */
static const char *why_not(lua_State *L)
{
    struct vm *vm = vm_of(L);

    if (vm->cos.current == NULL)
        return "at file scope or in a function that may not wait";
    if (vm->cos.current->L != L)
        return "in a coroutine not made by sd";
    if (!lua_isyieldable(L))
        return "inside a C callback (gsub, sort ...)";
    if (vm->cos.current->may_not_wait)
        return "in a route or pack";
    return NULL;
}

/* When this wait ends: its own timeout or the call's deadline, the sooner.
 * A timeout made from what the call has left is the call's deadline. */
static void arm(struct co *co, uint64_t timeout)
{
    struct loop *loop = co->vm->env.loop;
    uint64_t now = loop_now(loop), ms = timeout;

    co->parked = now;
    co->own_timeout = true;
    if (co->deadline != 0) {
        uint64_t left = co->deadline > now ? co->deadline - now : 0;

        if (timeout == 0 || left <= timeout) {
            co->own_timeout = false;
            ms = left;
        }
    }
    if (timeout != 0 || co->deadline != 0)
        timer_start(loop, &co->timer, ms);
}

void co_may_park(lua_State *L)
{
    const char *reason = why_not(L);

    if (reason != NULL)
        co_raise(L, "cannot wait %s", reason);
    if (vm_of(L)->cos.current->cancelled) {
        lua_pushliteral(L, "cancelled");
        lua_error(L);
    }
}

struct ticket co_park(lua_State *L, uint64_t timeout)
{
    struct co *co;

    co_may_park(L);
    co = vm_of(L)->cos.current;
    co->wait++;
    co->state = CO_WAITING;
    arm(co, timeout);
    return (struct ticket){co->index, co->wait};
}

int co_yield(lua_State *L)
{
    return lua_yield(L, 0);
}

static void unpark(struct co *co)
{
    timer_stop(co->vm->env.loop, &co->timer);
    co->wait++; /* the ticket is used up */
    co->state = CO_READY;
    lua_settop(co->L, 0);
}

void co_unpark(lua_State *L)
{
    struct co *co = co_current(L);

    sd_assert(co != NULL && co->state == CO_WAITING);
    timer_stop(co->vm->env.loop, &co->timer);
    co->wait++;
    co->state = CO_RUNNING;
}

bool co_is_waiting(struct vm *vm, struct ticket t)
{
    struct co *co = t.index < vm->cos.n ? vm->cos.at[t.index] : NULL;

    return co != NULL && co->state == CO_WAITING && co->wait == t.wait;
}

struct co *co_wake(struct vm *vm, struct ticket t)
{
    struct co *co = t.index < vm->cos.n ? vm->cos.at[t.index] : NULL;

    if (co == NULL || co->state != CO_WAITING || co->wait != t.wait)
        return NULL;
    unpark(co);
    return co;
}

void co_on_timer(struct timer *timer)
{
    struct co *co = list_entry(timer, struct co, timer);

    sd_assert(co->state == CO_WAITING);
    unpark(co);
    lua_pushlightuserdata(co->L, co->own_timeout ? CO_TIMEOUT : CO_EXPIRED);
    co_ready(co, 1);
}

void co_cancel(struct co *co)
{
    co->cancelled = true;
    if (co->state != CO_WAITING)
        return;
    unpark(co);
    lua_pushlightuserdata(co->L, CO_CANCELLED);
    co_ready(co, 1);
}

void co_answer(struct co *co, co_take_fn *take, void *answer)
{
    sd_assert(co->vm->cos.current == NULL);
    co->take = take;
    co->answer = answer;
    lua_pushlightuserdata(co->L, CO_ANSWER);
    co_start(co, 1);
    co->take = NULL;
}
