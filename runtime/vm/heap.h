/* heap.h - the memory of one Lua state: counted, capped, freed as a whole.
 *
 * Not for anything else: sizes are told on freeing, as Lua does. */
#ifndef SD_VM_HEAP_H
#define SD_VM_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct heap;

/* `limit` in bytes; what is asked beyond it is refused, but for a reserve that
 * is open from the first refusal until heap_was_starved() is asked. */
struct heap *heap_new(size_t limit);

/* Frees every block at once. */
void heap_free(struct heap **hp);

/* A lua_Alloc in all but its first argument: new block (p NULL), another size
 * (contents kept), or none (size 0).  NULL: over the limit, or size 0. */
void *heap_resize(struct heap *h, void *p, size_t old, size_t size);

/* No limit for a while: a collection frees memory, but may ask for some
 * first, as when it shrinks a table.  At its end the system gets back what
 * lies idle, if it is much.  Pairs nest. */
void heap_lift(struct heap *h, bool is_lifted);

/* Refuse the next request for more, whatever is left: Lua raises the error that
 * no handler hears (vm/watchdog.c). */
void heap_fail_next(struct heap *h);

/* From now on what is asked beyond the limit is granted, up to some MB more,
 * and `on_full(arg)` called each time, before the block is given: who has gone
 * too far can be told where it does no harm.  Larger requests are refused. */
typedef void heap_full_fn(void *arg);
void heap_soften(struct heap *h, heap_full_fn *on_full, void *arg);

/* Is more in use than the limit allows? */
bool heap_is_full(const struct heap *h);

/* Has a request been refused since the last call?  Then it is time to collect
 * garbage, which Lua does not do by itself when it is out of memory. */
bool heap_was_starved(struct heap *h);

/* Bytes in use by Lua. */
size_t heap_used(const struct heap *h);

#endif
