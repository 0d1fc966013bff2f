/* letter.h - one message of this process to one process of the node. */
#ifndef SD_VM_LETTER_H
#define SD_VM_LETTER_H

#include <stdint.h>

#include "base/slice.h"

struct vms;

/* Nobody answers it.  v[0] is for the wire head.  Of one too long for a ring
 * v[1], v[2] ... but the last stay in the ring as far as they fit there.  0, or
 * as mesh_send(). */
int letter_send(struct vms *all, unsigned slot, uint32_t type, struct slice *v,
                unsigned n);

#endif
