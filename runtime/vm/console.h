/* console.h - somebody looks inside a vm: a socket, lines of JSON both ways.
 *
 * The master gives away the socket of who asked it to attach (proc/ctl.h),
 * and has nothing to do with what is said.  The vm speaks first, with a line
 * that says who it is; then each line of the client is one request, run by
 * lua/sd/console.lua in a coroutine of its own, one after the other:
 *
 *     {"eval": "= 1 + 1"}   ->  {"out": "2\n"} ... {"done": true}
 *     {"top": 10}           ->  {"top": {...}, "done": true}
 *
 * A console costs nothing but what it is asked for, and it ends with its
 * socket: what still runs for it is cancelled then. */
#ifndef SD_VM_CONSOLE_H
#define SD_VM_CONSOLE_H

struct vm;

/* Let go of everybody; their coroutines are not resumed any more. */
void consoles_close(struct vm *vm);

#endif
