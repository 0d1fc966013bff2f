/* garbage.h - collects before memory is short, a slice at a time. */
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
    size_t at;            /* bytes of the heap that call for it */
    bool is_running;      /* a collection in slices goes on */
    bool is_done;         /* its last slice was run */
    bool is_flushed;      /* compiled code has gone for it */
    unsigned in_vain;     /* made no room, in this turn */
    bool is_short;        /* what is left after one is over the soft mark */
    struct loop_job next; /* its next slice */
};

void garbage_init(struct garbage *g, struct vm *vm);

/* While the state is filled; may raise. */
void garbage_boot(lua_State *L);

/* All of it now, inside a call too. */
void garbage_collect(lua_State *L);

/* The heap is full, or a request was refused: is it within its limit when
 * all is done for it?  Inside a call; may raise. */
bool garbage_make_room(lua_State *L);

/* Once a turn. */
void garbage_turn(struct garbage *g);

void garbage_stop(struct garbage *g);

#endif
