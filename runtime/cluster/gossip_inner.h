/* gossip_inner.h - what the files of gossip share: nobody else's business.
 *
 *   gossip.c         the machine: its life, its time, its packets
 *   gossip_front.c   what others ask of it
 *   gossip_merge.c   the rules: what an update changes
 *   gossip_suspect.c how long somebody may be silent
 *   gossip_probe.c   who does not answer
 *   gossip_spread.c  what is told to whom
 *   gossip_sync.c    comparing tables, and finding the first member */
#ifndef SD_CLUSTER_GOSSIP_INNER_H
#define SD_CLUSTER_GOSSIP_INNER_H

#include "cluster/gossip.h"
#include "cluster/members.h"
#include "cluster/news.h"

#define GOSSIP_MAGIC 0x60551b01u

enum {
    GOSSIP_RELAYS = 64, /* probes on behalf of others at once */
    GOSSIP_ASKS = 8,    /* questions without an answer yet */
    GOSSIP_AWARE = 7
};

/* The one probe of our own that runs. */
struct gossip_probe {
    uint64_t boot; /* 0: none */
    uint64_t nonce;
    uint64_t begun;
    uint32_t period, gap; /* scaled by how we are */
    uint32_t steps;       /* pings sent */
    uint32_t proxies, nacks;
    bool is_answered;
};

/* A probe that somebody asked us for. */
struct gossip_relay {
    struct timer timer;
    struct gossip *g;
    uint64_t target;
    uint64_t nonce, their_nonce;
    struct gossip_address asker;
    unsigned steps;
};

/* A question to an address, sent a few times. */
struct gossip_question {
    struct timer timer;
    struct gossip *g;
    struct gossip_address to;
    uint64_t nonce;
    unsigned sent;
};

struct gossip {
    unsigned magic;
    bool is_leaving;
    bool is_late; /* stands still until `hold` */
    unsigned awareness;
    struct gossip_conf conf;
    struct gossip_hooks hooks;
    struct members members;
    struct news news;
    struct wheel wheel;
    struct dice dice;
    uint64_t clock; /* our time: it does not count while we stand still */
    uint64_t now;   /* the caller's, at the last tick */
    uint64_t hold;
    uint32_t wait;      /* what the last tick returned */
    uint64_t born;      /* by `clock`, less the age we came with */
    uint64_t reunion;   /* until then all the dead get news */
    uint64_t quiet;     /* until then what we learn is no news to others */
    uint32_t sync_wait; /* until tables are compared again */
    uint64_t curious;   /* until then we do not ask out of need again */
    unsigned lonely;    /* tries to join since we were alone */
    uint32_t round;     /* in which links are looked at */
    struct timer probe_timer, spread_timer, sync_timer, seek_timer;
    struct timer join_timer, twin_timer;
    struct gossip_probe probe;
    struct gossip_relay relays[GOSSIP_RELAYS];
    struct gossip_question asks[GOSSIP_ASKS];
    struct gossip_address seeds[GOSSIP_SEEDS];
    unsigned nseeds, next_seed;
    struct hash_key cookies;
    struct gossip_counters counters;
};

/* --- gossip.c */

/* Follow the caller's clock, or stand still. */
void gossip_advance(struct gossip *g, uint64_t now);

/* A time within [ms, ms * 5/4) from now, so that members do not march in
 * step. */
void gossip_later(struct gossip *g, struct timer *t, uint32_t ms);

/* A packet of ours, its head filled in. */
struct gossip_packet gossip_packet(const struct gossip *g,
                                   enum gossip_type type);
void gossip_send(struct gossip *g, const struct gossip_address *to,
                 const char *bytes, size_t len);
void gossip_tell(struct gossip *g, const struct member *m,
                 enum gossip_event what);

/* All who are alive or suspect, with ourselves. */
static inline uint32_t gossip_size(const struct gossip *g)
{
    return g->members.nliving + 1;
}

/* --- gossip_merge.c */

/* Take what a packet says. */
void merge_packet(struct gossip *g, const struct gossip_packet *p);

/* Its state is another one from now on. */
void merge_state(struct gossip *g, struct member *m, enum gossip_state state);

/* It is dead, or left: tell everybody. */
void merge_end(struct gossip *g, struct member *m, enum gossip_state state);

/* It cannot be alive: another boot answers under its name and address. */
void merge_death(struct gossip *g, struct member *m);

/* --- gossip_suspect.c */

/* Somebody suspects somebody that we hold for alive. */
void suspect_begin(struct gossip *g, struct member *m,
                   const struct gossip_update *u);

/* Our own probe failed. */
void suspect_silent(struct gossip *g, struct member *m);

bool suspect_is_vouched(const struct gossip *g, const struct member *m);

/* --- gossip_probe.c */

void probe_start(struct gossip *g);
void probe_on_ping(struct gossip *g, const struct gossip_packet *p);
void probe_on_proxy(struct gossip *g, const struct gossip_packet *p);
void probe_on_ack(struct gossip *g, const struct gossip_packet *p);
void probe_on_nack(struct gossip *g, const struct gossip_packet *p);
/* Tell a suspect that it is one. */
void probe_remind(struct gossip *g, const struct member *m);
void probe_on_vouch(struct gossip *g, uint64_t boot, uint64_t age);

/* Better (below 0) or worse. */
void probe_health(struct gossip *g, int by);

/* Somebody lives under our name: find out who was first. */
void probe_twin(struct gossip *g);

/* --- gossip_spread.c */

/* Something new about `m`. */
void spread_news(struct gossip *g, struct member *m, bool is_full);

/* Send `p` with as much news as fit, first what concerns `about`, which may
 * be NULL.  True: it is full. */
bool spread_packet(struct gossip *g, const struct gossip_address *to,
                   const struct gossip_packet *p, const struct member *about);

/* The same without news. */
void spread_bare(struct gossip *g, const struct gossip_address *to,
                 const struct gossip_packet *p);

/* What we know of `m`; with `is_full` all that it says of itself, and that it
 * is alive: a suspicion is an update of its own. */
struct gossip_update spread_update(const struct member *m, bool is_full);

/* News to as many as `n` at once. */
void spread_round(struct gossip *g, unsigned n);
void spread_start(struct gossip *g);

/* --- gossip_sync.c */

void sync_start(struct gossip *g);
void sync_ask(struct gossip *g, const struct gossip_address *to);

/* Compare tables often for a while. */
void sync_soon(struct gossip *g);

/* We lack something that the sender of `p` knows. */
void sync_need(struct gossip *g, const struct gossip_packet *p);
void sync_on_ask(struct gossip *g, const struct gossip_packet *p);
void sync_on_hello(struct gossip *g, const struct gossip_packet *p);

/* Before its updates are taken. */
void sync_on_state(struct gossip *g, const struct gossip_packet *p);

/* Nobody else is left, or seeds are new: begin to look for somebody. */
void sync_seek(struct gossip *g);

#endif
