/* crowd.h - many conns of which each reads packets, judged one by one.
 *
 * What a conn sends is up to its owner; crowd_send() is for little. */
#ifndef SD_BENCH_CROWD_H
#define SD_BENCH_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/stages.h"

struct crowd_conn {
    int fd; /* -1: not open */
    unsigned index;
    uint64_t next;     /* number of the packet it waits for */
    struct bytes tail; /* of an incomplete packet */
};

/* Opened by zeroing and crowd_open(). */
struct crowd {
    unsigned count;
    struct crowd_conn *conns;
    int epfd;
    struct stages *run; /* told of errors */

    /* Judge the front of `in`: the packet's length, 0 while incomplete, -1
     * when it is wrong and that was not yet told. */
    long (*judge)(void *arg, struct crowd_conn *c, const char *in, size_t len);
    /* All whole packets of one read were judged; may be NULL. */
    void (*on_read)(void *arg, struct crowd_conn *c);
    void *arg;
};

/* `count` conns, none of them open. */
void crowd_open(struct crowd *crowd, unsigned count);

/* Conn `index` is this socket; taken. */
void crowd_set(struct crowd *crowd, unsigned index, int fd);

/* Read what has come, or wait for it `timeout_ms` long. */
void crowd_turn(struct crowd *crowd, int timeout_ms);

/* Send all of it, and wait for room if there is none. */
void crowd_send(struct crowd *crowd, struct crowd_conn *c, const void *p,
                size_t n);

/* Close all; what still comes of one is an error. */
void crowd_close(struct crowd *crowd);

#endif
