/* status.h - what `sdlua status` shows, as the master knows it. */
#ifndef SD_PROC_STATUS_H
#define SD_PROC_STATUS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/conf.h"
#include "ipc/mesh.h"
#include "proc/ports.h"
#include "proc/redis_server.h"

struct status {
    const char *node, *version, *state;
    unsigned generation, workers;
    uint64_t started; /* clock_ms() */
    const struct conf *conf;
    const struct ports *ports;
    const struct mesh *mesh;
    const char *admin;              /* address of the admin port, "": none */
    struct redis_server_info redis; /* pid 0: none */
};

/* One JSON object, of seconds and bytes. */
void status_json(const struct status *s, struct buf *out);

/* The table that `start` prints. */
void status_table(const struct status *s, struct buf *out);

/* Bytes resident of a process, 0: this one. */
uint64_t status_memory(pid_t pid);

#endif
