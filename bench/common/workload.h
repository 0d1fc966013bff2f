/* workload.h - what the load generator says, and what it must hear.
 *
 * Requests are numbered over all conns.  The number is in the payload of every
 * request that has one, so a reply that is late, doubled, out of order or
 * somebody else's differs in its bytes from the one expected. */
#ifndef SD_BENCH_WORKLOAD_H
#define SD_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"

enum {
    WORKLOAD_PAYLOAD = 64, /* bytes of text in each message */
};

enum workload_kind {
    WORKLOAD_CALLS,  /* each request has its reply: client.h */
    WORKLOAD_IDLE,   /* memory of conns that do nothing: idle.h */
    WORKLOAD_FANOUT, /* fanout.h */
    WORKLOAD_PAIRS,  /* pairs.h */
    WORKLOAD_SLOW,   /* slow.h */
    WORKLOAD_KINDS,
};

struct workload {
    const char *name;
    const char *about;
    enum workload_kind kind;
    unsigned conns; /* when not told otherwise; 0: 64 */
    bool upgrade;   /* each conn begins with a WebSocket handshake */
    bool per_conn;  /* one request a conn, then close */

    /* Both of calls and of idle conns only. */
    void (*request)(struct bytes *out, uint64_t number);

    /* Judge the front of `in` as the reply to `number`: its length, 0 while
     * incomplete, -1 when it is wrong. */
    long (*reply)(const char *in, size_t len, uint64_t number);
};

/* By name, in any case; NULL when there is none. */
const struct workload *workload_find(const char *name);

/* One line per workload, for --help. */
void workload_list(void);

/* Path and expected body of the HTTP workloads; both kept, not copied. */
void workload_set_http(const char *path, const char *body);

/* On a blocking socket: open the WebSocket; one request and its reply.
 * 0, or -1 when the answer is wrong or does not come. */
int workload_upgrade(int fd);
int workload_exchange(const struct workload *w, int fd, uint64_t number);

#endif
