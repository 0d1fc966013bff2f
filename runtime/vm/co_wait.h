/* co_wait.h - how coroutines wait: tickets, deadlines, cancellation.
 *
 * A binding that waits parks the coroutine, keeps the ticket, and returns
 * co_yield(L).  Whoever has the answer calls co_wake() with the ticket: it
 * gives the co back once, or NULL when the coroutine has gone on without the
 * answer (deadline, cancellation, end), which is then dropped unconverted.
 *
 * A wait ends with one mark on the stack, a light userdata that the wrapper in
 * lua/sd/wait.lua turns into results:
 *     CO_ANSWER      results are made by core.take(), inside the coroutine,
 *                    so that running out of memory is an error like any other
 *     CO_TIMEOUT     its own timeout passed: nil, "timeout"
 *     CO_EXPIRED     the deadline of the whole call passed: nil, "timeout"
 *     CO_CANCELLED   raises "cancelled"
 * Without a mark another coroutine woke it.
 *
 * Pushing marks, numbers and references never allocates; nothing else is
 * pushed from outside a protected call. */
#ifndef SD_VM_CO_WAIT_H
#define SD_VM_CO_WAIT_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm/co.h"

struct ticket {
    uint32_t index;
    uint32_t wait;
};

/* Ticket the next co_park() of this coroutine will have. */
struct ticket co_next_ticket(const struct co *co);

/* Raise what co_park() would raise here. */
void co_may_park(lua_State *L);

/* Suspend what runs on L, for at most `timeout` ms (0: only its deadline).
 * Raises where waiting is not allowed, saying why at the script's line. */
struct ticket co_park(lua_State *L, uint64_t timeout);
int co_yield(lua_State *L);

/* Instead of co_yield(): there is nothing to wait for after all. */
void co_unpark(lua_State *L);

/* Does a coroutine still wait on this ticket? */
bool co_is_waiting(struct vm *vm, struct ticket t);

/* The co that waits on this ticket, once; then call co_answer() or co_ready().
 * NULL: the ticket is dead. */
struct co *co_wake(struct vm *vm, struct ticket t);

/* Make every wait raise from now on; a running wait ends now. */
void co_cancel(struct co *co);

/* Resume a woken co with an answer; runs now, so `answer` is borrowed.  Not
 * to be called while Lua runs. */
void co_answer(struct co *co, co_take_fn *take, void *answer);

/* Its timer has fired. */
void co_on_timer(struct timer *timer);

extern char co_marks[4]; /* their addresses are the marks */
#define CO_ANSWER    ((void *)&co_marks[0])
#define CO_TIMEOUT   ((void *)&co_marks[1])
#define CO_EXPIRED   ((void *)&co_marks[2])
#define CO_CANCELLED ((void *)&co_marks[3])

#endif
