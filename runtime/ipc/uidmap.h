/* uidmap.h - uid -> conns of this node, in shared memory.
 *
 * Each worker slot has a table that only its own process writes; all processes
 * read all of them without locks.  A reader sees each binding whole or not at
 * all, also when the writer was killed at any instruction.  A table belongs to
 * an epoch of its slot: when the master raises the epoch, all in it is void at
 * once.  Slots are those of the mesh, workers first.
 *
 * Dead tables.  When a worker has died, somebody must say so of every binding
 * it had: call uidmap_claim() after each on_gone of the mesh and once at start,
 * until it gives nothing.  Of several processes that ask one gets the table;
 * when it dies too, another gets it.  The next process of the slot writes a
 * second table, so the dead one stays readable until uidmap_told(), or until
 * the process after the next needs its place: that one takes it over (a claim
 * of somebody else then ends with SD_EGONE) and tells first itself.  A binding
 * that has ended stays in the table, found by nobody, until its own worker has
 * told it.  So each binding is told at least once. */
#ifndef SD_IPC_UIDMAP_H
#define SD_IPC_UIDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "ipc/slots.h"

enum {
    UIDMAP_UID = 128,       /* bytes of a uid */
    UIDMAP_CONNS = 1048576, /* most conns of a worker; indexes of conn ids */
    UIDMAP_TWINS = 16384    /* see uidmap_count() */
};

struct uidmap; /* what one process knows about the block */

struct uidmap_binding {
    struct slice uid; /* borrowed for the call */
    uint64_t conn;
    uint64_t number; /* bind number: the highest is the newest */
    unsigned slot;
    uint16_t epoch;
    bool more; /* uidmap_tell(): the uid has another one in the same table */
};

/* Shown a binding; false ends the walk. */
typedef bool (*uidmap_fn)(void *arg, const struct uidmap_binding *b);

struct uidmap_dead {
    unsigned slot;
    uint16_t epoch;
};

/* Bytes of a block; pages never touched cost nothing. */
size_t uidmap_size(unsigned workers, uint32_t max_conns);

/* Master: once, on zeroed memory, aligned to 64, before any process runs. */
void uidmap_init(void *mem, unsigned workers, uint32_t max_conns);

/* Every process, also the master, as (self, epoch).  Keeps `mem`, `slots`. */
struct uidmap *uidmap_attach(void *mem, const struct slots *slots,
                             unsigned self, uint16_t epoch);
void uidmap_close(struct uidmap **mp);

/* Worker: begin to write, with an empty table.  True; false: what the
 * process before the last had is not told yet, *dead is claimed: tell it
 * (uidmap_tell, uidmap_told) and call again. */
bool uidmap_own(struct uidmap *m, struct uidmap_dead *dead);

/* The next bind number of this process: max(wall ms, last + 1). */
uint64_t uidmap_number(struct uidmap *m, uint64_t wall_ms);

/* Writer.  Bind the conn to a uid of 1 to UIDMAP_UID bytes; another uid it had
 * is unbound.  Bound to it already: a higher number replaces the old one.  0,
 * or SD_EFULL: max_conns are bound. */
int uidmap_bind(struct uidmap *m, struct slice uid, uint64_t conn,
                uint64_t number);

/* Writer.  End exactly this binding; false: there was none, so the late close
 * of an old conn touches nothing.  *last (may be NULL): no binding of the uid
 * is left on the node.  Of several that end in the same instant one is told
 * so; both, rarely, see uidmap_write.c. */
bool uidmap_unbind(struct uidmap *m, struct slice uid, uint64_t conn,
                   bool *last);

/* Writer.  The same; but as long as it is not settled the binding is told when
 * we die.  The debt to settle, 0: there was no such binding, or so many debts
 * that this one is forgotten. */
uint32_t uidmap_end(struct uidmap *m, struct slice uid, uint64_t conn,
                    bool *last);
void uidmap_settle(struct uidmap *m, uint32_t debt);

/* Show the living bindings of a uid, in no order, each once.  Returns how many
 * were shown.  A uid that moves between conns or workers, bound anew before it
 * is unbound, is never missed.  `fn` may call anything here. */
unsigned uidmap_find(const struct uidmap *m, struct slice uid, uidmap_fn fn,
                     void *arg);
bool uidmap_is_online(const struct uidmap *m, struct slice uid);

/* Uids online on this node, each once; exact while nobody binds.  It costs a
 * find for each binding of a uid that is on several workers; of more than
 * UIDMAP_TWINS / workers such in one table the rest is estimated. */
uint32_t uidmap_count(const struct uidmap *m);

/* Bindings of a slot's living process: 0 for others. */
uint32_t uidmap_bindings(const struct uidmap *m, unsigned slot);

/* Show some of the uids online (about `max` or fewer, each once, by one of its
 * bindings; what `fn` returns is not looked at): start with *cursor = 0, ends
 * with 0.  A uid that is online all the time is shown once, also when its
 * bindings change meanwhile. */
void uidmap_scan(const struct uidmap *m, uint64_t *cursor, unsigned max,
                 uidmap_fn fn, void *arg);

/* Claim the table of a dead worker that nobody living is telling. */
bool uidmap_claim(struct uidmap *m, struct uidmap_dead *out);

/* Show up to `max` bindings of a claimed table: start with *cursor = 0, ends
 * with 0.  0, or SD_EGONE: the table is no longer ours. */
int uidmap_tell(struct uidmap *m, const struct uidmap_dead *dead,
                uint64_t *cursor, unsigned max, uidmap_fn fn, void *arg);

/* All of it was told: nobody gets it again. */
void uidmap_told(struct uidmap *m, const struct uidmap_dead *dead);

#endif
