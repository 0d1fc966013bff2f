/* relay_door.h - the listening socket of a relay, and what happens when there
 * are no descriptors left: accepting pauses, a stranger gives his back, and
 * the log says so. */
#ifndef SD_PROC_RELAY_DOOR_H
#define SD_PROC_RELAY_DOOR_H

#include "cluster/link.h"
#include "loop/loop.h"

struct relay_door;

struct relay_door_config {
    struct loop *loop;
    struct links *links;
    int fd; /* it listens; borrowed */
    /* One has come; takes the descriptor. */
    void (*on_fd)(void *arg, int fd);
    void *arg;
};

/* 0 or a uv code. */
int relay_door_open(struct relay_door **out,
                    const struct relay_door_config *config);

/* Idempotent. */
void relay_door_close(struct relay_door **dp);

#endif
