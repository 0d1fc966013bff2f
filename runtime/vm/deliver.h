/* deliver.h - one value to many conns: encoded once per pack and framed
 * once per port, in C.
 *
 * The value comes as msgpack, from here or from another process, and becomes
 * bytes when the first conn of a pack needs them. */
#ifndef SD_VM_DELIVER_H
#define SD_VM_DELIVER_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct conn;
struct vm;

/* One fan-out, from deliver_begin() to its last conn.  Only one at a time. */
struct deliver {
    struct vm *vm;
    lua_State *L;       /* where packs of scripts run */
    struct slice value; /* msgpack, borrowed */
    uint64_t key;       /* deliver_key() of opts.conflate; 0: none */
    bool is_volatile;   /* not for conns that read too slowly */
    bool is_single;     /* for one conn, or hardly more */
    bool follows;       /* a conn that has moved, see vm/move.h */
    bool tells;         /* on_undeliverable of whom it is dropped for */
    uint32_t sent;
};

struct deliveries; /* what a vm keeps for it */

struct deliveries *deliveries_new(unsigned npacks, unsigned nports);
void deliveries_free(struct deliveries **dp);

/* Make room for more packs; not during a fan-out. */
void deliveries_grow(struct deliveries **dp, unsigned npacks);

/* An empty buffer for a value of our own.  NULL: a fan-out runs already, and
 * a pack's encode() tries to send. */
struct buf *deliver_value(struct vm *vm);

/* Raise when a fan-out runs: a pack's encode() tries to change who gets it. */
void deliver_check_idle(lua_State *L);

void deliver_begin(struct deliver *d, struct vm *vm, lua_State *L,
                   struct slice value);
void deliver_end(struct deliver *d);

/* The number of a conflation key, the same in all processes of the node. */
uint64_t deliver_key(const struct vm *vm, struct slice conflate);

/* To one conn.  0, or SD_EGONE, SD_ESLOW, SD_EINVALID (its pack or frame
 * cannot carry the value), SD_EOFFLINE (it speaks no packets yet).  Counted.
 * Raises nothing. */
int deliver_to(struct deliver *d, struct conn *c);

#endif
