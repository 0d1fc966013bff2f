/* crew_seat.h - what proc/crew.c and proc/crew_vote.c share. */
#ifndef SD_PROC_CREW_SEAT_H
#define SD_PROC_CREW_SEAT_H

#include "proc/crew.h"
#include "proc/member.h"

enum {
    CREW_MAGIC = 0x63726577,
    NOBODY = -1, /* no index of a seat */
};

enum crew_state {
    CREW_STARTING,
    CREW_SERVING,
    CREW_LEAVING, /* without its dead workers */
    CREW_FAILED,
    CREW_STOPPING
};

/* What a seat says to a generation that is to be built. */
enum vote {
    VOTE_NONE, /* it was not asked */
    VOTE_AWAITED,
    VOTE_YES,
};

/* A seat is a member and, of a worker, who serves its listeners meanwhile.  A
 * task has two, of which one rests: at a reload a fresh process takes over in
 * it while the other's call goes on. */
struct seat {
    struct member member;
    struct crew *crew;
    bool rests;    /* nobody is to be started in it */
    bool is_fresh; /* during a commit: filled by it */
    enum vote vote;
    int server;  /* index of a seat, or NOBODY */
    bool orphan; /* dead for longer than NEIGHBOUR_WAIT */
    struct timer wait;
};

struct crew {
    unsigned magic;
    struct crew_config config;
    struct member_env env;
    enum crew_state state;
    unsigned count;
    struct seat *seats;    /* one per slot but the master's, in their order */
    unsigned building;     /* a generation that is voted on; 0: none */
    int bundle;            /* its bundle, borrowed */
    unsigned vote;         /* counts votes: late answers to others are none */
    struct timer deadline; /* of the stop */
    uint64_t vote_until;   /* clock_ms() */
    struct timer patience; /* with the vote */
    struct loop_job empty;
};

static inline struct seat *seat_of(struct member *m)
{
    return list_entry(m, struct seat, member);
}

/* --- crew_vote.c ---------------------------------------------------------- */

/* Let a ready process make the generation that is voted on, if it can. */
void crew_ask_vote(struct seat *s);

/* The one that is voted on cannot be, because of the process of that name. */
void crew_fail_vote(struct crew *c, const char *name, const char *why);

/* Hooks. */
void crew_on_built(void *arg, struct member *m, unsigned serial,
                   const char *why);
void crew_on_patience(struct timer *t);

#endif
