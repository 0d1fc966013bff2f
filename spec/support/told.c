/* told.c - callbacks for specs: LuaJIT makes none that take a struct.  The
 * argument is a struct buf, which gets a line for each call. */
#include "base/buf.h"

void told_change(void *arg, struct slice filter, bool is_held);
void told_filter(void *arg, struct slice filter);

void told_change(void *arg, struct slice filter, bool is_held)
{
    buf_printf(arg, "%c%.*s\n", is_held ? '+' : '-', (int)filter.len, filter.p);
}

void told_filter(void *arg, struct slice filter)
{
    buf_printf(arg, "%.*s\n", (int)filter.len, filter.p);
}
