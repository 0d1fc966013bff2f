/* leave.c - all conns leave, at once or one after the other: see net.h.
 *
 * A conn that shall go but has calls running or packets waiting is only
 * marked: no packet of it is taken any more, and conn_done() closes it behind
 * the last reply.  One that has nothing to do is closed here. */
#include "net/inner.h"

static bool is_idle(const struct conn *c)
{
    return c->request == NULL && c->inflight == 0 && c->waiting == 0;
}

void net_close_conns(struct net *n, const char *reason)
{
    uint32_t cursor = 0;
    struct conn *c;

    net_drain(n, reason);
    n->is_stopping = true;
    while ((c = conns_next(n->conns, &cursor)) != NULL) {
        if (is_idle(c))
            conn_end(c, n->stop_reason, 0);
    }
}

void net_drain(struct net *n, const char *reason)
{
    sd_check(n, NET_MAGIC);
    n->is_draining = true;
    n->stop_reason = reason_of(reason);
}

unsigned net_shed(struct net *n, unsigned max)
{
    struct conn *c;
    unsigned count = 0;

    sd_check(n, NET_MAGIC);
    sd_assert(n->is_draining);
    while (count < max && (c = conns_next(n->conns, &n->shed_at)) != NULL) {
        if (c->is_leaving)
            continue;
        c->is_leaving = true;
        count++;
        if (is_idle(c))
            conn_end(c, n->stop_reason, 0);
    }
    if (count < max)
        n->shed_at = 0; /* an index may have been used again behind us */
    return count;
}
