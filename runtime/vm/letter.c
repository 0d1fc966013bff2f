/* letter.c - see letter.h. */
#include "vm/letter.h"

#include <string.h>

#include "base/err.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "vm/state.h"
#include "vm/task_state.h"

/* Move what fits from behind the wire head to it. */
static void keep_inline(char *head, struct slice *v, unsigned n)
{
    for (unsigned i = 1; i + 1 < n; i++) {
        if (v[i].len > MESH_HEAD_MAX - v[0].len)
            return;
        memcpy(head + v[0].len, v[i].p, v[i].len);
        v[0].len += v[i].len;
        v[i].len = 0;
    }
}

int letter_send(struct vms *all, unsigned slot, uint32_t type, struct slice *v,
                unsigned n)
{
    struct wire_head h = {.boot = all->env.boot,
                          .counter = ++all->tasks->counter,
                          .life_ms = UINT32_MAX,
                          .type = (uint16_t)type,
                          .epoch = (uint16_t)all->env.epoch,
                          .slot = (uint8_t)all->env.slot};
    char head[MESH_HEAD_MAX];
    size_t len = 0;
    int rc;

    for (unsigned i = 1; i < n; i++)
        len += v[i].len;
    if (len > WIRE_BODY_MAX)
        return SD_ETOOLARGE;
    h.len = (uint32_t)len;
    wire_encode(head, &h);
    v[0] = slice_make(head, WIRE_HEAD);
    if (WIRE_HEAD + len > MESH_INLINE)
        keep_inline(head, v, n);
    rc = mesh_send(all->env.mesh, slot, type, MESH_PLAIN, v, n);
    v[0] = slice_make(NULL, 0); /* head is ours */
    return rc;
}
