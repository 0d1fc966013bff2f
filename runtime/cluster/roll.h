/* roll.h - a rolling reload: all nodes, one after the other, until one fails.
 * Pure.
 *
 * Whoever runs it first claims every node (cluster/claim.h), so that there is
 * one in a cluster, and none begins that cannot reach somebody; then it has
 * them reload in the order of their names.  What is lost on the way is said
 * again; a node that does not answer for ROLL_SILENCE, or has died, is a
 * failure, and those behind it keep what they have. */
#ifndef SD_CLUSTER_ROLL_H
#define SD_CLUSTER_ROLL_H

#include <stdint.h>

#include "base/buf.h"
#include "cluster/claim.h"
#include "cluster/roll_msg.h"

enum {
    ROLL_STEP = 250,     /* ms between two calls of roll_tick() */
    ROLL_SILENCE = 8000, /* ms; below CLAIM_LEASE */
    ROLL_WINDOW = 32     /* nodes that are claimed at once */
};

/* Read-only. */
struct roll_node {
    uint64_t boot, nonce;
    uint64_t asked, heard; /* ms; asked 0: not yet */
    enum roll_state state; /* 0: not known yet */
    uint32_t generation;
    char name[CLAIM_NAME];
};

struct roll_hooks {
    void *arg;
    /* A datagram for this member; it may be lost.  Not into the roll again. */
    void (*send)(void *arg, uint64_t boot, const char *bytes, size_t len);
    /* This node serves its new generation; `notes` are lines, or empty. */
    void (*on_done)(void *arg, const struct roll_node *n, const char *notes,
                    size_t len);
};

struct roll;

/* `id`: random, not 0. */
struct roll *roll_new(uint64_t id, uint64_t self,
                      const struct roll_hooks *hooks);
void roll_free(struct roll **rp);

/* Before the first tick: a node that is part of it. */
void roll_add(struct roll *r, uint64_t boot, struct slice name,
              uint32_t generation);

void roll_tick(struct roll *r, uint64_t now);

/* A message of type ROLL_STATE. */
void roll_take(struct roll *r, uint64_t now, const struct roll_msg *m);

/* A member is no more: `how` for people, "is dead". */
void roll_lost(struct roll *r, uint64_t boot, const char *how);

/* End before the next node begins. */
void roll_stop(struct roll *r, const char *why);

/* It is over, everybody is free; roll_why() is empty when all went well, else
 * it says what did not, of which node. */
bool roll_has_ended(const struct roll *r);
struct slice roll_why(const struct roll *r);

unsigned roll_count(const struct roll *r);
const struct roll_node *roll_at(const struct roll *r, unsigned i);

#endif
