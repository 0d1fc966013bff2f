/* move_state.h - shared by the files vm/move*.c only, and, for specs, by
 * vm/bind_move.c. */
#ifndef SD_VM_MOVE_STATE_H
#define SD_VM_MOVE_STATE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "net/conn_move.h"
#include "vm/heard.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/state.h"

enum follow_kind {
    FOLLOW_PUBLISH,
    FOLLOW_UID,
    FOLLOW_CONN
};

/* One value that follows a conn. */
struct follow {
    struct list link;
    enum follow_kind kind;
    struct heard_id id; /* of a publish */
    bool tells;         /* of a send to the uid, see struct msg_follow */
    bool is_volatile;
    uint64_t key; /* of conflation, 0: none */
    struct buf value;
};

/* How far it is with telling the new worker that nothing follows any more:
 * once we have read what others may have sent here before they knew. */
enum move_end {
    MOVE_END_NONE, /* it is told, or not yet to be */
    MOVE_END_DUE,
    MOVE_END_READING, /* up to moves.marks; it waits for that, or ... */
    MOVE_END_NEXT     /* ... for the next marks */
};

/* One conn that has gone. */
struct move {
    struct list link;
    struct moves *moves;
    struct member *member; /* without its conn */
    struct conn_place place;
    uint64_t number; /* of its binding; 0: it is not bound */
    unsigned slot;   /* where it goes */
    uint16_t epoch;
    uint64_t id;  /* its new one; 0: it is on its way */
    uint64_t end; /* ms: then nothing follows it any more */

    /* While it is on its way: */
    int fd;
    struct buf image;
    struct list follows;
    struct buf close; /* why it has to be closed, if so */

    enum move_end ending;

    /* Then: how far its new worker had come with the publishes of each, as
     * long as we are not. */
    uint64_t heard[SLOTS_MAX];
};

struct moves {
    struct vms *vms;
    unsigned nslots;
    struct list all;
    struct timer look;
    struct loop_job turn; /* both: who is to be told its end */
    struct timer again;
    unsigned turns; /* that were in vain */
    bool is_reading;
    struct mesh_marks marks;
    struct heard heard;
    struct heard_id now; /* the publish at hand */
    size_t bytes;        /* of all that follows */
    uint64_t arrived;    /* conns; both for specs */
    bool refuses;        /* those that come */
};

/* --- move_wait.c --- */

/* What is sent to this conn waits for the worker it comes from. */
void move_wait(struct vms *all, struct member *m, unsigned slot,
               uint16_t epoch);

/* Tell its new worker when nothing follows any more. */
void move_tell_end(struct move *mv);
void moves_on_turn(struct loop_job *job);
void moves_on_again(struct timer *t);

/* That one is no more: nobody waits for it. */
void moves_stop_waiting(struct vm *vm, unsigned slot, uint16_t epoch);

/* --- move_arrive.c --- */

/* Make a conn anew; takes the descriptor; `home` as of net_unpack().  0 and the
 * conn; or as net_unpack(), and nothing has happened. */
int move_arrive(struct vm *vm, struct conn **out, struct slice bytes, int fd,
                const struct conn_place *home);

/* --- move_follow.c --- */

/* It has arrived: send what waits for that; `mv->id` and `heard` are set. */
void move_follow(struct move *mv);

/* When we have come as far as its new worker, nothing is heard for it here. */
void move_hush(struct move *mv);

/* The conn has come back, or is another's: what is for its uid does not go by
 * way of its older moves any more. */
void moves_outdate(struct moves *ms, uint64_t number);

/* It is back here as `c`; NULL: it is lost. */
void move_follow_home(struct move *mv, struct conn *c);
void move_drop_follows(struct move *mv);

/* A value reached nobody, for a reason like SD_EGONE.  `uid`: whose
 * on_undeliverable is to hear of it; empty: nobody's. */
void move_lost(struct vms *all, struct slice uid, int err, struct slice value);

/* Is this error of a send to a uid to be told?  What is volatile may be left
 * out for who is slow. */
static inline bool move_is_told(int rc, bool is_volatile)
{
    return rc < 0 && !(rc == SD_ESLOW && is_volatile);
}

#endif
