/* far_call.h - a call to another node, shared by vm/abroad_calls.c and its
 * binding. */
#ifndef SD_VM_FAR_CALL_H
#define SD_VM_FAR_CALL_H

#include "vm/abroad_state.h"
#include "vm/co_wait.h"

struct far_call {
    struct table_node node;
    struct list ended; /* of abroad.ended, or of one look at all */
    uint64_t counter;
    struct vm *vm; /* NULL: it has ended */
    struct ticket ticket;
    struct place place; /* where it runs */
    bool has_place;
    bool wants_value; /* else the outcome is the answer */
    uint64_t due;
    uint64_t unseen; /* since when no relay leads there; 0: one does */
    int outcome;
};

/* Kept until its outcome is known, or its time is long over. */
struct far_call *far_call_add(struct vm *vm, uint64_t ms);
void far_call_drop(struct abroad *a, struct far_call *c);

/* Send a letter and yield until its outcome is known, or of MSG_FAR_CALL its
 * answer; settle() makes results.  In a process that has links. */
int far_call(lua_State *L, struct abroad_letter *l, uint64_t ms);

#endif
