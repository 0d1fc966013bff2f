/* place.h - where a conn lives, and the one way to send something there. */
#ifndef SD_CLUSTER_PLACE_H
#define SD_CLUSTER_PLACE_H

#include <stdint.h>

#include "base/slice.h"
#include "ipc/mesh.h"

struct place {
    uint64_t boot; /* of the node */
    uint16_t epoch;
    uint8_t slot;
};

struct place_letter {
    uint32_t type; /* enum msg_type */
    enum mesh_kind kind;
    const struct slice *v; /* v[0] is the wire head */
    unsigned n;
};

/* Send to the process at `to`, which is not our own; `boot` is that of our
 * node.  Borrows everything.  0: on its way.  SD_EGONE: that process has
 * ended.  SD_EOFFLINE: no way leads to that node.  Else as mesh_send(). */
int place_send(struct mesh *m, uint64_t boot, const struct place *to,
               const struct place_letter *letter);

#endif
