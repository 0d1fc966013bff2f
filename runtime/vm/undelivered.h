/* undelivered.h - what reached nobody, until the hook on_undeliverable has it.
 *
 * Each value has one run of the hook's coroutine, for all uids that missed it.
 * What waits is bounded; beyond that nothing is told but one line in the
 * log. */
#ifndef SD_VM_UNDELIVERED_H
#define SD_VM_UNDELIVERED_H

#include <lua.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"

struct vms;

struct undelivered {
    struct vms *all;
    struct list values;
    unsigned n;
    size_t bytes;
};

void undelivered_init(struct undelivered *u, struct vms *all);
void undelivered_fini(struct undelivered *u);

/* Note on a list (vm/uidlist.h) that `uid` was missed, for a reason like
 * SD_EGONE. */
void undelivered_add(struct buf *missed, struct slice uid, int err);

/* Tell the hook of a list; `value` is msgpack, empty: it is lost too. */
void undelivered_tell(struct undelivered *u, struct slice missed,
                      struct slice value);

/* The same of one uid. */
void undelivered_tell_one(struct undelivered *u, struct slice uid, int err,
                          struct slice value);

/* Add core.undelivered() to the table on top of the stack. */
void bind_undelivered(lua_State *L);

#endif
