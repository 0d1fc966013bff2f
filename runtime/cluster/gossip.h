/* gossip.h - membership: who is in the cluster, and who is alive.  Pure.
 *
 * SWIM with suspicion, local health (Lifeguard) and full exchange, as a state
 * machine: time, packets and random bits come in, packets and changes go out
 * through hooks.  It has no socket and no clock, so a thousand of them run in
 * one process in virtual time (spec/stress/gossip_sim.c).
 *
 * Packets are sealed and opened by whoever calls; only opened ones come in.
 * docs/protocol.md says what is on the wire, docs/why/gossip.md why. */
#ifndef SD_CLUSTER_GOSSIP_H
#define SD_CLUSTER_GOSSIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "cluster/gossip_member.h"

struct gossip;

enum {
    GOSSIP_SEEDS = 64 /* addresses to begin with */
};

/* Milliseconds, except where said otherwise. */
struct gossip_conf {
    uint32_t period;        /* one member is probed in each */
    uint32_t timeout;       /* then others are asked to probe it */
    uint32_t pings;         /* pings within the timeout */
    uint32_t proxies;       /* how many others */
    uint32_t spread;        /* between two rounds of news */
    uint32_t fanout;        /* members that a round goes to */
    uint32_t suspicion;     /* periods, times log10 of the members */
    uint32_t suspicion_max; /* times longer while nobody confirms it */
    uint32_t news_to_dead;  /* the dead get news for so long */
    uint32_t tombstone;     /* and are remembered for so long */
    uint32_t sync;          /* between two comparisons with somebody */
    uint32_t seek;          /* between two calls to somebody dead, or a seed */
    uint32_t vouched;       /* a data link's frame vouches for so long */
};

struct gossip_self {
    struct slice name; /* gossip_name_is_sound() */
    struct slice meta; /* up to GOSSIP_META bytes */
    uint64_t boot;     /* not 0 */
    uint64_t age;      /* ms since the node's start, of which this may be a
                          later process */
    struct gossip_address address; /* where others reach us */
    uint8_t kind;
};

enum gossip_event {
    GOSSIP_JOINED,
    GOSSIP_UPDATED, /* meta or address changed */
    GOSSIP_SUSPECTED,
    GOSSIP_RETURNED, /* alive again, from suspect or dead */
    GOSSIP_DIED,
    GOSSIP_DEPARTED, /* left on its own account */
    GOSSIP_CONFLICT  /* it has our name, lives, and was here first */
};

/* Both run inside the calls below and may use only those that take a const
 * struct gossip.  What they are handed is borrowed. */
struct gossip_hooks {
    void *arg;
    void (*send)(void *arg, const struct gossip_address *to, const char *bytes,
                 size_t len);
    void (*change)(void *arg, const struct gossip_member *m,
                   enum gossip_event what);
};

struct gossip_counters {
    uint64_t packets_in, packets_out, bytes_in, bytes_out;
    uint64_t bad;     /* packets and updates that broke the rules */
    uint64_t refused; /* members for whom there was no room */
    uint64_t probes, failed_probes;
    uint64_t suspicions;  /* begun by us or heard of */
    uint64_t deaths;      /* our own verdicts: a suspicion that ran out */
    uint64_t refutations; /* that we are not dead */
    uint64_t vetoes;      /* deaths that a data link forbade */
    uint64_t late;        /* ticks that came late: nothing was judged */
    uint64_t syncs;       /* comparisons that found a difference */
    uint64_t conflicts;
};

/* The parameters of a profile, "lan" or "fast"; false: no such. */
bool gossip_profile(struct gossip_conf *out, const char *name);

/* Copies everything.  `now` is any monotonic time in ms, `seed` random. */
struct gossip *gossip_new(const struct gossip_conf *conf,
                          const struct gossip_self *self,
                          const struct gossip_hooks *hooks, uint64_t seed,
                          uint64_t now);
void gossip_free(struct gossip **gp);

/* Do what is due.  Call it after reading packets, and again after so many ms
 * as it returns at the latest.  Called later than that by more than a timeout,
 * it takes it that this process was stopped, and judges nobody until it had
 * the time to read what came meanwhile. */
uint32_t gossip_tick(struct gossip *g, uint64_t now);

/* A packet that was opened.  0; SD_EPROTO: of another version, or none. */
int gossip_receive(struct gossip *g, uint64_t now, const char *bytes,
                   size_t len);

/* Where to begin: asked until somebody answers, and whenever we are alone.
 * Replaces the former ones; those beyond GOSSIP_SEEDS are left out.  One that
 * is new is asked in any case. */
void gossip_seeds(struct gossip *g, const struct gossip_address *list,
                  unsigned n);

/* Somebody announced itself on the local network. */
void gossip_heard(struct gossip *g, uint64_t now, uint64_t boot,
                  const struct gossip_address *address);

/* Say something new about ourselves.  Every change costs each member a few
 * packets of this size.  SD_ETOOLARGE: over GOSSIP_META bytes. */
int gossip_set_meta(struct gossip *g, uint64_t now, struct slice meta);

/* Say goodbye to everybody.  Keep ticking for gossip_has_left(). */
void gossip_leave(struct gossip *g, uint64_t now);

/* The goodbye was sent as often as news are. */
bool gossip_has_left(const struct gossip *g);

/* Data links are looked at in rounds.  For each that is open: it gave an
 * authenticated frame of this boot `age` ms ago, so then that was alive. */
void gossip_vouch(struct gossip *g, uint64_t now, uint64_t boot, uint64_t age);

/* These were all.  Who had links in the round before and has none in this one
 * is vouched for no more; one of them is asked next. */
void gossip_vouch_end(struct gossip *g, uint64_t now);

/* Somebody else is known and alive. */
bool gossip_is_joined(const struct gossip *g);

/* Another one is said to live under our name, at an address that is not ours,
 * and has not answered yet. */
bool gossip_has_rival(const struct gossip *g);

const struct gossip_member *gossip_self(const struct gossip *g);

/* NULL: unknown. */
const struct gossip_member *gossip_find(const struct gossip *g, uint64_t boot);

/* All members but ourselves: 0 .. gossip_count() - 1, first those that are
 * alive or suspect, gossip_living() of them, then the dead. */
unsigned gossip_count(const struct gossip *g);
unsigned gossip_living(const struct gossip *g);
const struct gossip_member *gossip_at(const struct gossip *g, unsigned i);

const struct gossip_counters *gossip_counters(const struct gossip *g);

/* 0: this process answers in time; up to 7: it does not. */
unsigned gossip_awareness(const struct gossip *g);

/* For logs: "alive", "suspect", "dead", "left". */
const char *gossip_state_name(unsigned state);

#endif
