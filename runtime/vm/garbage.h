/* garbage.h - collects before memory is short, a slice at a time, and at once
 * where it is. */
#ifndef SD_VM_GARBAGE_H
#define SD_VM_GARBAGE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"

struct vm;

struct garbage {
    struct vm *vm;
    int collect; /* the functions that do it, kept at boot ... */
    int slice;
    int flush;
    int attempt;          /* ... and the one of garbage_attempt() */
    size_t at;            /* bytes of the heap that call for it */
    bool is_running;      /* a collection in slices goes on */
    bool is_done;         /* its last slice was run */
    struct loop_job next; /* its next slice */
    uint64_t flushed_at;  /* loop time, between turns; 0: never */
    bool is_behind_flush; /* this collection is */
    bool is_short;        /* what one has left was over the soft mark */

    /* Of the run that goes on (garbage_run()). */
    unsigned in_vain; /* times that no room was made, since it was of use */
    bool is_flushed;  /* compiled code has been thrown away */
};

void garbage_init(struct garbage *g, struct vm *vm);

/* While the state is filled; may raise. */
void garbage_boot(lua_State *L);

/* Once a turn. */
void garbage_turn(struct garbage *g);

/* Before Lua is entered. */
static inline void garbage_run(struct garbage *g)
{
    g->in_vain = 0;
    g->is_flushed = false;
}

void garbage_stop(struct garbage *g);

/* Does what lives fill three quarters of server.vm_memory, and no collection
 * helps? */
bool garbage_is_short(const struct garbage *g);

/* All of it now, also from inside a call. */
void garbage_collect(lua_State *L);

enum garbage_room {
    GARBAGE_ROOM, /* the heap is within its limit */
    GARBAGE_SOON, /* ask once more, at the next instruction */
    GARBAGE_NONE
};

/* The heap has been full: is there room again, when all is done for it?  For a
 * hook. */
enum garbage_room garbage_make_room(lua_State *L);

/* Call `fn(L, arg)`, which pushes one value and returns 0, or pushes nothing
 * and returns something negative; where it is refused memory, again when all
 * is done for it.  `bytes` is what it may need.  Returns what fn does; raises
 * what fn does.  From C that Lua has called, not from a hook. */
typedef int garbage_fn(lua_State *L, void *arg);
int garbage_attempt(lua_State *L, garbage_fn *fn, void *arg, size_t bytes);

#endif
