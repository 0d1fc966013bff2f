/* abroad_state.h - what the files of vm/abroad share. */
#ifndef SD_VM_ABROAD_STATE_H
#define SD_VM_ABROAD_STATE_H

#include "base/list.h"
#include "base/table.h"
#include "cluster/outbox.h"
#include "cluster/outcome.h"
#include "cluster/teller.h"
#include "ipc/roster.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "vm/abroad.h"

struct frames_data;
struct uplink;

enum {
    ABROAD_MAGIC = 0x61627264
};

struct abroad {
    unsigned magic;
    struct vms *all;
    struct uplink *uplink; /* NULL: a task, whose worker sends for it */
    struct list pending;   /* sends that somebody waits for the outcome of */
    struct list left;      /* bindings that have ended ... */
    unsigned nleft;
    uint64_t taken_until; /* ... and until when somebody takes them out */
    struct timer board;   /* when to tell how the links are */
    struct teller *teller;
    struct timer turn;   /* its next one */
    struct list changes; /* of groups, abroad_groups.c */
    unsigned nchanges;

    struct table calls;   /* that are not answered (abroad_calls.c) */
    struct list ended;    /* calls whose outcome is to be told ... */
    struct loop_job tell; /* ... by this */
    struct list posts;    /* of tasks, that wait for room (abroad_post.c) */
    struct timer look;    /* for both, while there are any */

    uint64_t dropped[OUTCOME_COUNT];
    uint64_t *posted; /* of a task, abroad_post.c */

    struct roster_list *roster; /* of a task */
    uint64_t serial;            /* of what was read of it */
};

/* A send that somebody waits for the outcome of; the outbox has its address.
 * Embedded. */
struct pending {
    struct list node;
    void (*done)(struct abroad *a, struct pending *p, int outcome);
    void (*drop)(struct abroad *a, struct pending *p); /* it is not known */
};

/* Who is told what became of a message, instead of a struct pending. */
enum {
    ABROAD_NOBODY = 0, /* what does not arrive is counted */
    ABROAD_SILENT = 2, /* nor that */
    ABROAD_CALL = 1    /* bit: a call, whose counter is behind it */
};

/* What to do when the outcome is known. */
enum abroad_want {
    ABROAD_NOTHING, /* or what the token says */
    ABROAD_HOOK,    /* on_undeliverable, of a uid that nobody has */
    ABROAD_CHANGE   /* abroad_add_change() */
};

struct abroad_letter {
    struct outbox_to to;
    uint32_t type;    /* enum msg_type */
    uint64_t life;    /* ms; 0: server.call_timeout */
    uint64_t counter; /* of the wire head; 0: the next one */
    uint64_t token;   /* see above */
    enum abroad_want wants;
    const struct slice *body;
    unsigned n;
};

/* 0, SD_EBUSY, SD_ETOOLARGE. */
int abroad_send(struct abroad *a, const struct abroad_letter *l);

/* Those who live, as far as this process knows. */
const struct roster_list *abroad_roster(struct abroad *a);

/* Can the process be alive? */
bool abroad_lives(struct abroad *a, const struct place *p);

/* Has the uid a conn on our node? */
bool abroad_is_near(const struct abroad *a, struct slice uid);

/* A conn id, as scripts know it, on the stack. */
void abroad_push_conn(lua_State *L, uint64_t boot, uint64_t id);

/* --- abroad_board.c ------------------------------------------------------- */

void abroad_open_board(struct abroad *a);
void abroad_close_board(struct abroad *a);

/* --- abroad_interest.c ---------------------------------------------------- */

void abroad_open_interest(struct abroad *a);
void abroad_close_interest(struct abroad *a);

/* A relay is linked, or is no more: calls of the uplink. */
void abroad_on_relay(void *arg, void *relay);
void abroad_on_relay_gone(void *arg, void *relay);

/* --- abroad_groups.c ------------------------------------------------------ */

/* Somebody enters the group, by a message that is about to be sent. */
struct pending *abroad_add_change(struct abroad *a, struct slice topic);

/* Can it be that not all relays know yet who wants the group? */
bool abroad_is_changing(struct abroad *a, struct slice topic);

void abroad_drop_changes(struct abroad *a);

/* --- abroad_uids.c -------------------------------------------------------- */

/* Where is this uid?  The outbox wants to know. */
void abroad_on_resolve(void *arg, const struct slice *uid);

/* --- abroad_left.c -------------------------------------------------------- */

void abroad_drop_left(struct abroad *a);

/* --- abroad_oust.c -------------------------------------------------------- */

/* Body of MSG_OUST.  0 or an error code. */
int abroad_take_oust(struct abroad *a, struct slice body);

/* --- abroad_post.c: of tasks ---------------------------------------------- */

/* In a task: give it to a worker. */
int abroad_post(struct abroad *a, const struct abroad_letter *l);

/* ... and can it be that one to this uid has no outcome yet? */
bool abroad_has_posted(const struct abroad *a, struct slice uid);

/* Send what waits.  True: there is more. */
bool abroad_send_posts(struct abroad *a);
void abroad_drop_posts(struct abroad *a);

/* --- abroad_calls.c ------------------------------------------------------- */

void abroad_calls_init(struct abroad *a);
void abroad_calls_fini(struct abroad *a);
void abroad_look(struct abroad *a); /* set the timer */

void abroad_call_settled(struct abroad *a, uint64_t counter, int outcome);
int abroad_take_reply(struct abroad *a, const struct frames_data *d);

/* --- abroad_take.c -------------------------------------------------------- */

bool abroad_on_has(void *arg, const struct slice *uid);
bool abroad_on_lives(void *arg, const struct place *p);
int abroad_on_deliver(void *arg, const struct frames_data *d, uint64_t token);

#endif
