/* readiness.c - see readiness.h.  A node with one worker missing still serves
 * everybody, by its neighbour, but it is no place for new clients. */
#include "proc/readiness.h"

/* What speaks against the worker in slot `i`; NULL: nothing. */
static const char *objection(const struct slots *slots, unsigned i,
                             uint64_t now, uint64_t hang)
{
    enum slot_state state = slots_state(slots, i);
    uint64_t beat = slots_get(slots, i, SLOT_HEARTBEAT);

    if (state != SLOT_READY)
        return slot_state_name(state);
    if (hang > 0 && beat != 0 && now > beat + hang)
        return "stuck";
    return NULL;
}

bool readiness_json(const struct slots *slots, uint64_t now, uint64_t hang,
                    struct buf *out)
{
    const char *why;
    unsigned i, n = 0;
    char name[32];

    for (i = 0; i < slots_count(slots); i++) {
        if (slots_role(slots, i) != SLOT_WORKER)
            continue;
        why = objection(slots, i, now, hang);
        if (why == NULL)
            continue;
        slots_name(name, sizeof(name), slots, i);
        buf_append_str(out, n++ == 0 ? "{\"ready\":false,\"reasons\":[" : ",");
        buf_printf(out, "\"%s is %s\"", name, why);
    }
    buf_append_str(out, n == 0 ? "{\"ready\":true}" : "]}");
    return n == 0;
}
