/* place.c - see place.h.
 *
 * Everything above sends to places and never asks where they are, so a link
 * to other nodes is one more branch here. */
#include "cluster/place.h"

#include "base/assert.h"
#include "base/err.h"

int place_send(struct mesh *m, uint64_t boot, const struct place *to,
               const struct place_letter *letter)
{
    struct slots *slots = mesh_slots(m);

    if (to->boot != boot)
        return SD_EOFFLINE;
    if (to->slot >= slots_count(slots) ||
        !slots_is_alive(slots, to->slot, to->epoch))
        return SD_EGONE;
    sd_assert(to->slot != mesh_self(m));
    return mesh_send(m, to->slot, letter->type, letter->kind, letter->v,
                     letter->n);
}
