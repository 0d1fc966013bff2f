/* figures.h - what an operator wants to know of the conns of a worker.
 *
 * Nothing here is for the life of a conn, and nothing is kept while nobody
 * looks: a conn counts for itself, and who wants a rate keeps what he has seen
 * last. */
#ifndef SD_NET_FIGURES_H
#define SD_NET_FIGURES_H

#include <stdint.h>

struct conn;
struct net;

struct conn_figures {
    uint64_t age_ms, idle_ms; /* since it was opened, since its last byte */
    uint64_t bytes;           /* read and written */
    uint32_t packets_in, packets_out; /* and requests and their replies */
    uint32_t inflight, waiting;       /* packets in work and not yet */
};

void conn_figures(const struct conn *c, struct conn_figures *out);

/* Every open conn, also of plain HTTP; else as net_next(). */
struct conn *net_each(struct net *n, uint32_t *cursor);

/* The busiest conns since the last look. */
struct busiest;

struct busy_conn {
    struct conn *conn; /* borrowed for this turn of the loop */
    uint64_t bytes;
    uint32_t packets;
};

struct busiest *busiest_new(void);
void busiest_free(struct busiest **bp); /* harmless when it is NULL */

/* At most `max`, those with the most packets first; conns in which nothing
 * moved are left out.  Returns how many.  Looks at every conn: some ten
 * milliseconds for 100,000. */
unsigned busiest_look(struct busiest *b, struct net *n, struct busy_conn *out,
                      unsigned max);

#endif
