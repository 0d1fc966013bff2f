/* instance.c - see instance.h. */
#include "proc/instance.h"

static unsigned parts = INSTANCE_NODE;

static const char *name(const char *of_node, const char *of_dispatch)
{
    return parts == INSTANCE_DISPATCH ? of_dispatch : of_node;
}

void instance_set(unsigned is_about)
{
    parts = is_about;
}

unsigned instance_parts(void)
{
    return parts;
}

const char *instance_word(void)
{
    return name("node", "dispatch");
}

const char *instance_pidfile(void)
{
    return name("run/sdlua.pid", "run/dispatch.pid");
}

const char *instance_control(void)
{
    return name("run/control.sock", "run/dispatch.sock");
}

const char *instance_log(void)
{
    return name("run/sdlua.log", "run/dispatch.log");
}
