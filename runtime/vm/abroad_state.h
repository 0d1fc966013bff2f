/* abroad_state.h - what vm/abroad.c and vm/abroad_uids.c share. */
#ifndef SD_VM_ABROAD_STATE_H
#define SD_VM_ABROAD_STATE_H

#include "base/list.h"
#include "loop/timer.h"
#include "vm/abroad.h"

struct uplink;

struct abroad {
    unsigned magic;
    struct vms *all;
    struct uplink *uplink;
    struct list pending;  /* sends whose hook may have to be told */
    struct list left;     /* bindings that have ended ... */
    uint64_t taken_until; /* ... and until when somebody takes them out */
    struct timer board;   /* when to tell how the links are */
};

/* Where is this uid?  The outbox wants to know. */
void abroad_on_resolve(void *arg, const struct slice *uid);

/* Body of MSG_OUST.  0 or an error code. */
int abroad_take_oust(struct abroad *a, struct slice body);

void abroad_drop_left(struct abroad *a);

#endif
