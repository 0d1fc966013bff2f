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
    WORKLOAD_PAYLOAD = 64, /* bytes echoed by W2 and W3 */
};

struct workload {
    const char *name;
    const char *about;
    bool upgrade;  /* each conn begins with a WebSocket handshake */
    bool per_conn; /* one request a conn, then close */
    bool idle;     /* memory of conns that do nothing */

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
