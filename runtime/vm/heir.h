/* heir.h - says of every uid of a dead worker that its conn is closed.
 *
 * Of the workers one gets the table of the dead one.  It tells on_uid_closed
 * page by page, and only when the hooks of the last page have ended the table
 * is done with; who dies before leaves it to another, which begins anew. */
#ifndef SD_VM_HEIR_H
#define SD_VM_HEIR_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/uidmap.h"

struct vms;

struct heir {
    struct vms *all;
    struct uidmap_dead dead; /* while is_telling */
    uint64_t cursor;
    unsigned open; /* hooks of this page that have not ended */
    bool is_telling, is_in_page, is_owner;
    void (*on_owned)(struct vms *all);
};

void heir_init(struct heir *h, struct vms *all);

/* A worker begins to write its table; on_owned() comes once, when what an
 * earlier process of the slot had is told.  Others than workers: at once. */
void heir_start(struct heir *h, void (*on_owned)(struct vms *all));

/* Somebody has died. */
void heir_look(struct heir *h);

/* A hook of the page runs; it has ended. */
void heir_opened(struct heir *h);
void heir_ended(struct heir *h);

#endif
