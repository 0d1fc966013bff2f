/* abroad.h - the other nodes of the cluster: what is sent there, and what comes
 * from there.
 *
 * Everything above sends to uids, topics, groups and conns and does not ask
 * where they are.  Of a node that is in no cluster there is no abroad, and all
 * of these do nothing. */
#ifndef SD_VM_ABROAD_H
#define SD_VM_ABROAD_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cluster/place.h"

struct abroad;
struct conf;
struct conn;
struct deliver;
struct spread;
struct vm;
struct vms;

/* NULL: in no cluster. */
struct abroad *abroad_new(struct vms *all, const struct conf *conf);
void abroad_free(struct abroad **ap);

/* Another configuration serves. */
void abroad_take(struct abroad *a, const struct conf *conf);

/* Add what was sent to other nodes to COUNTERS numbers. */
void abroad_add_counters(const struct abroad *a, uint64_t *v);

/* Messages whose outcome is not known yet. */
unsigned abroad_count(const struct abroad *a);

/* A publish, to the workers of all other nodes.  0; SD_EBUSY: nobody is told;
 * SD_ETOOLARGE. */
int abroad_spread(struct abroad *a, const struct spread *s);

/* Changes of a group (vm/spread.h), to all other nodes.  As above. */
int abroad_group(struct abroad *a, uint32_t verb, struct slice group,
                 struct slice changes);

/* An event, to the workers of all other nodes: the body of MSG_EVENT.  Those of
 * one worker stay in order.  As above. */
int abroad_event(struct abroad *a, const struct slice *body, unsigned n);

enum abroad_uid {
    ABROAD_ALONE, /* it has no conn on our node */
    ABROAD_TOO,   /* those have got it, and nobody is told of a miss */
    ABROAD_SLOW,  /* those are too slow for it: told when all others miss it */
    ABROAD_GONE   /* those have gone, the same */
};

/* A value to the conns that a uid has elsewhere.  What reaches nobody is told
 * to on_undeliverable.  0: it is kept until that is known; SD_EBUSY;
 * SD_ETOOLARGE; SD_EOFFLINE: there is no cluster. */
int abroad_send_uid(struct abroad *a, const struct deliver *d, struct slice uid,
                    enum abroad_uid how);

/* Messages to this uid are still under way: what follows them, even to a conn
 * of our own node by now, goes the same way (abroad_send_uid()). */
bool abroad_owes(struct abroad *a, struct slice uid);

/* A message to another process.  `type` is of enum msg_type.  As above, and
 * what does not arrive is counted only. */
int abroad_send_place(struct abroad *a, const struct place *place,
                      uint32_t type, const struct slice *body, unsigned n);

/* Once a turn. */
void abroad_turn(struct abroad *a);

/* In a task: the worker that sends for it to this name; -1: none is ready. */
int abroad_worker(struct abroad *a, struct slice name);

/* MSG_ABROAD, behind the wire head; and one that its dead reader had not
 * read. */
void abroad_take_post(struct abroad *a, struct slice body);
void abroad_on_back(struct vms *all, struct slice body);

/* A vm ends: nobody in it waits for answers of other nodes any more. */
void abroad_forget(struct abroad *a, const struct vm *vm);

/* Answer a call that came by MSG_FAR_CALL; kind of enum msg_far_kind. */
int abroad_reply(struct abroad *a, const struct place *to, uint64_t counter,
                 uint32_t kind, struct slice body);

/* A uid has come to one of our conns or left it: tell the relay that is asked
 * for it.  `is_sole`: it has one conn at a time. */
void abroad_locate(struct abroad *a, struct slice uid, uint64_t number,
                   bool is_here, bool is_sole);

/* A conn that has a uid has come from another worker of our node. */
void abroad_arrived(struct abroad *a, struct conn *c);

/* A conn of ours, or of a dead worker of our node, has a uid no more
 * (people.on_left). */
void abroad_left(struct abroad *a, struct slice uid, uint64_t conn,
                 uint64_t number);

/* Add core.located() and the like to the table on top of the stack. */
void bind_abroad(lua_State *L);
void bind_abroad_calls(lua_State *L); /* bind_abroad_calls.c */
void bind_elsewhere(lua_State *L);    /* bind_elsewhere.c */
void bind_oust(lua_State *L);         /* abroad_oust.c */
void bind_left(lua_State *L);         /* abroad_left.c */

#endif
