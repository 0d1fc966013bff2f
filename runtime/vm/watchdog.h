/* watchdog.h - stops Lua that runs too long without giving control back.
 *
 * One per process and thread, as a process has one thread that runs Lua and
 * LuaJIT one profiler, without which compiled loops heed nothing.  The vm that
 * serves owns the profiler; a vm being built or drained beside it is guarded:
 * it runs without the JIT, where the profiler is not needed.
 *
 * A run that is stopped is an error that no handler of a script sees and no
 * pcall of a script gets past: only when control is back in C, or in lua/sd
 * with no script below, is Lua free to go on. */
#ifndef SD_VM_WATCHDOG_H
#define SD_VM_WATCHDOG_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* Watch this vm from now on, whose libraries are open.  The first vm of a
 * process owns the profiler, others are guarded.  Runs of the owner take up to
 * `max_run` ms of CPU as a rule: the clock ticks accordingly. */
void watchdog_watch(lua_State *L, uint64_t max_run);

/* Hand the profiler to this vm, JIT on; who had it is guarded.  Not while Lua
 * runs. */
void watchdog_own(lua_State *L, uint64_t max_run);

/* Run without the profiler, JIT off. */
void watchdog_guard(lua_State *L);

/* Before lua_close(). */
void watchdog_forget(lua_State *L);

/* Around every protected call from C into Lua: L is the thread it runs on. It
 * may burn `limit` ms of CPU, 0: as much as it likes.  Entries nest; the
 * outermost one is the run. */
void watchdog_enter(lua_State *L, uint64_t limit);
void watchdog_leave(void);

/* A protected call inside a run has failed, and with it compiled code has
 * forgotten that it is to leave for the hook.  Where there is no leave. */
void watchdog_again(void);

/* Was the run that has just ended, or is about to, stopped?  Then what it
 * says, "file:line: stopped ...", and the stack it had; both stay until the
 * next run begins. */
bool watchdog_stopped(const char **text, const char **stack);

/* The same, told to whoever reports it: once. */
bool watchdog_take(const char **text, const char **stack);

/* Runs stopped in this process. */
uint64_t watchdog_count(void);

#endif
