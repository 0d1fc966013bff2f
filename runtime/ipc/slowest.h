/* slowest.h - the conns of a worker with the most unsent bytes, for everybody
 * to read.
 *
 * One page of shared memory per worker (ipc/page.h), with the epoch of the
 * process: of one that is no more, nothing is read. */
#ifndef SD_IPC_SLOWEST_H
#define SD_IPC_SLOWEST_H

#include <stddef.h>
#include <stdint.h>

enum {
    SLOWEST_MAX = 8,
    SLOWEST_UID = 128,
    SLOWEST_ADDRESS = 48 /* with NUL */
};

/* One conn.  A multiple of 8 bytes, without gaps. */
struct slow_conn {
    uint64_t bytes;
    uint64_t age_ms; /* for how long something has waited */
    uint32_t port;   /* index in the configuration */
    uint16_t peer_port;
    uint16_t uid_len; /* 0: it has none */
    char uid[SLOWEST_UID];
    char address[SLOWEST_ADDRESS];
};

struct slowest; /* the page of one worker, zeroed at first */

/* Bytes of one page; pages lie one behind the other, 64-byte aligned. */
size_t slowest_size(void);

/* Owner: the list of now, at most SLOWEST_MAX, largest first. */
void slowest_publish(struct slowest *page, uint16_t epoch,
                     const struct slow_conn *list, unsigned n);

/* Everybody: the list of the process of that epoch; how many. */
unsigned slowest_read(struct slowest *page, uint16_t epoch,
                      struct slow_conn *out);

#endif
