/* abroad_state.h - what vm/abroad.c and vm/abroad_uids.c share. */
#ifndef SD_VM_ABROAD_STATE_H
#define SD_VM_ABROAD_STATE_H

#include "base/list.h"
#include "cluster/teller.h"
#include "loop/timer.h"
#include "vm/abroad.h"

struct uplink;

struct abroad {
    unsigned magic;
    struct vms *all;
    struct uplink *uplink;
    struct list pending;  /* sends that somebody waits for the outcome of */
    struct list left;     /* bindings that have ended ... */
    uint64_t taken_until; /* ... and until when somebody takes them out */
    struct timer board;   /* when to tell how the links are */
    struct teller *teller;
    struct timer turn;   /* its next one */
    struct list changes; /* of groups, abroad_groups.c */
    unsigned nchanges;
};

/* A send that somebody waits for the outcome of; the outbox has its address.
 * Embedded. */
struct pending {
    struct list node;
    void (*done)(struct abroad *a, struct pending *p, int outcome);
    void (*drop)(struct abroad *a, struct pending *p); /* it is not known */
};

/* --- interest (abroad_interest.c) --- */

void abroad_open_interest(struct abroad *a);
void abroad_close_interest(struct abroad *a);

/* A relay is linked, or is no more: calls of the uplink. */
void abroad_on_relay(void *arg, void *relay);
void abroad_on_relay_gone(void *arg, void *relay);

/* --- groups that change (abroad_groups.c) --- */

/* Somebody enters the group, by a message that is about to be sent. */
struct pending *abroad_add_change(struct abroad *a, struct slice topic);

/* Can it be that not all relays know yet who wants the group? */
bool abroad_is_changing(struct abroad *a, struct slice topic);

void abroad_drop_changes(struct abroad *a);

/* --- uids (abroad_uids.c) --- */

/* Where is this uid?  The outbox wants to know. */
void abroad_on_resolve(void *arg, const struct slice *uid);

/* Body of MSG_OUST.  0 or an error code. */
int abroad_take_oust(struct abroad *a, struct slice body);

void abroad_drop_left(struct abroad *a);

#endif
