/* profiler.h - LuaJIT's profiler, used to get out of compiled code.
 *
 * There is one per process, and its signal is SIGPROF. */
#ifndef SD_VM_PROFILER_H
#define SD_VM_PROFILER_H

#include <lua.h>

typedef void profiler_handler(int signum);

/* From now on SIGPROF is for `handler`. */
void profiler_take_signal(profiler_handler *handler);

/* Compiled code of this vm heeds samples; what was compiled before is thrown
 * away.  The profiler's own timer does not run, SIGPROF is for `handler`. */
void profiler_start(lua_State *L, profiler_handler *handler);

/* The one who has it gives it up. */
void profiler_stop(lua_State *L);

/* Make compiled code leave for the interpreter at its next line.  Fit for a
 * signal handler. */
void profiler_sample(void);

#endif
