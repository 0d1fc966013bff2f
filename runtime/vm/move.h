/* move.h - conns that go from one worker of the node to another while their
 * clients use them.
 *
 * The old worker writes the conn down, sends image and descriptor, and lets go
 * of it (net/conn_move.h); the new one makes it anew and says so.  Until then
 * the old one keeps the image, a descriptor of its own and the binding of the
 * uid: when the other refuses it or dies, the conn is made anew here.  No hook
 * runs for it; its conn id is another one afterwards.
 *
 * What comes for the conn meanwhile, or later because its sender looked before
 * that, is kept and sent after it:
 *
 * - publishes, sends to groups and to all are heard once: each worker knows how
 *   far it has come with those of each process (vm/heard.h);
 * - sends to its uid reach it once.  One that may have gone to the new worker
 *   as well (reach_told()) is left to that one; when it is not there any more
 *   either, it counts as missed.  Those of one sender stay in order: what comes
 *   to the new worker waits there until the old one has sent what it had, and
 *   read what was written to it by then;
 * - sends to its old conn id, closes and kicks follow it for some seconds;
 * - what comes from other nodes waits where it is until somebody has found the
 *   uid's new place, which is told to relays and Redis at once (vm/abroad.h).
 *   XXX: of a uid with conns on several nodes this one misses what still comes
 *   to its old worker.  A publish of another node is missed when the new worker
 *   has had it before the conn came and the old one gets it after that, and
 *   heard twice the other way round: vm/heard.h counts those of our own node
 *   only;
 * - deliver_to_uid(), ask_uid() and the like find it "gone", look again and
 *   find it there; when they are quicker than the move they say "gone". */
#ifndef SD_VM_MOVE_H
#define SD_VM_MOVE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "ipc/mesh.h"

struct conn;
struct deliver;
struct heard_id;
struct member;
struct move;
struct move_wait;
struct moves;
struct uidmap;
struct vm;
struct vms;

struct moves *moves_new(struct vms *all);

/* What is still on its way is closed when its new worker does not get it. */
void moves_free(struct moves **mp);

/* Send a conn to the worker of `slot`; no call down may run on it.  0: it is
 * not here any more.  SD_EBUSY: not now: a call of it runs, it is being opened
 * or closed, or there is no room; SD_EGONE: it is not open, or no other worker
 * is ready there; SD_ETOOLARGE: too much waits for it. */
int move_conn(struct vm *vm, struct conn *c, unsigned slot);

/* --- what the mesh brings ------------------------------------------------- */

enum mesh_verdict moves_take(struct vm *vm,
                             const struct mesh_msg *m);     /* MSG_MOVE */
void moves_on_end(struct vm *vm, const struct mesh_msg *m); /* MSG_MOVED */
void moves_on_gone(struct vm *vm, unsigned slot, uint16_t epoch);

/* --- what comes for those who have moved ---------------------------------- */

/* A publish of another process is handled from here ... to here. */
void moves_begin_publish(struct moves *ms, unsigned slot, uint16_t epoch,
                         uint64_t counter);
void moves_end_publish(struct moves *ms);

/* Has this member heard the publish at hand where it comes from? */
bool moves_was_heard(const struct moves *ms, const struct member *m);

/* The publish at hand is for a conn that has moved; for all of them. */
void move_hear(struct move *mv, const struct deliver *d);
void moves_hear_all(struct moves *ms, const struct deliver *d);

/* A send to a uid that was looked up here; `told`: to whom else it goes, as
 * reach_told(); `tells`: nobody has got it yet.  0: it follows conns of the
 * uid, which have moved.  SD_EGONE: there are none, or they have it from
 * elsewhere. */
int moves_send(struct moves *ms, struct slice uid, const struct deliver *d,
               unsigned told, bool tells);

/* Body of MSG_FOLLOW, behind the wire head; and of one that nobody reads, for a
 * reason like SD_EGONE. */
void moves_take_follow(struct vm *vm, struct slice body);
void moves_lose_follow(struct vm *vm, struct slice body, int err);

/* To a conn that has come here, while what was sent before that may still come
 * from its old worker: what is sent here waits for that.  move_await(): 0, or
 * SD_EBUSY. */
bool move_is_awaited(const struct conn *c);
int move_await(struct conn *c, const struct deliver *d);
void move_wait_free(struct move_wait **wp);

/* The conn closes: what waits for it is lost.  Its uid is still bound. */
void move_lose_waiting(struct member *m);

/* A binding of the member has ended, and it was not the last: but for the one
 * that its old worker is about to end? */
bool move_is_last(const struct member *m, const struct uidmap *map,
                  struct slice uid);

/* Body of MSG_MOVE_END, behind the wire head. */
void moves_take_end(struct vm *vm, struct slice body);

/* A value, or a reason to close, for a conn by the id it had here.  False:
 * nobody of that id has moved. */
bool moves_send_to(struct moves *ms, uint64_t id, struct slice value);
bool moves_close(struct moves *ms, uint64_t id, struct slice reason);

/* MSG_KICK for a conn that is not here, or no more. */
void moves_kick(struct moves *ms, uint64_t id, uint64_t number,
                struct slice reason);

/* Conns of the uid that are on their way; with a reason they are closed when
 * they have come. */
unsigned moves_count(struct moves *ms, struct slice uid, const char *reason);

void bind_move(lua_State *L);

#endif
