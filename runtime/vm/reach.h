/* reach.h - uids on the other workers of the node: sends.
 *
 * Which worker has which uid says ipc/uidmap.h.  A worker is told once for all
 * of its uids, and looks again itself: who has gone meanwhile is reported
 * there. */
#ifndef SD_VM_REACH_H
#define SD_VM_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "vm/state.h"

struct deliver;
struct mesh_msg;
struct undelivered;

struct reach *reach_new(struct vms *all);
void reach_free(struct reach **rp);

/* --- sends to uids -----------------------------------------------------------
 * reach_begin(), reach_add() for each uid, reach_send(). */

/* For so many uids, or fewer. */
void reach_begin(struct reach *r, uint32_t uids);

/* Note which workers have the uid.  True: another one than we. */
bool reach_add(struct reach *r, struct slice uid);

enum {
    REACH_ONLY = 1, /* one worker has it, or nobody */
    REACH_BITS = 7  /* else: 2 << its slot % REACH_BITS, for each */
};

/* To whom the uid goes that was added last, as it is told to them. */
unsigned reach_told(const struct reach *r);

static inline bool reach_may_be_told(unsigned told, unsigned slot)
{
    return (told & REACH_ONLY) == 0 && (told & 2u << slot % REACH_BITS) != 0;
}

/* The value of `d` to the other workers.  0; SD_EBUSY when one of them has no
 * room, and then nobody was told; SD_ETOOLARGE.  Uids whose worker dies before
 * it has read that are reported as offline. */
int reach_send(struct reach *r, const struct deliver *d);

/* Has the uid that was added last conns of our own? */
bool reach_is_here(const struct reach *r);

/* None of our own conns took the running send, which others have got too.
 * True: they all have missed it before. */
bool reach_missed_here(struct reach *r, struct slice uid);

struct undelivered *reach_undelivered(struct reach *r);

/* What was queued for a conn of the uid was dropped: tell the hook. */
void reach_dropped(struct reach *r, struct slice uid, struct slice value);

/* --- what comes from others ----------------------------------------------- */

/* End of a turn: what had no room. */
void reach_turn(struct reach *r);

/* Bodies of MSG_SEND_UIDS, which is `from`, and of MSG_MISSED, behind the wire
 * head. */
void reach_take_send(struct reach *r, const struct mesh_msg *from,
                     struct slice body);
void reach_take_missed(struct reach *r, struct slice body);

/* The same MSG_SEND_UIDS when what was too large for the ring is lost: the
 * value is empty, and so may be the list. */
void reach_take_unread(struct reach *r, const struct mesh_msg *from,
                       struct slice body);

/* One of ours whose reader has died. */
void reach_on_back(struct reach *r, struct slice body);

#endif
