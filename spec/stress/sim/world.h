/* world.h - many members of a cluster in one process, in virtual time.
 *
 * A host has an address, a clock, a socket buffer and, while it is up, one
 * gossip. Between hosts is a network that loses, delays and doubles packets,
 * and can be cut. Everything is decided by the seed. */
#ifndef SD_SPEC_SIM_WORLD_H
#define SD_SPEC_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/dice.h"
#include "cluster/gossip.h"
#include "heap.h"

enum {
    WORLD_BUFFER = 4096 /* packets that a socket may hold, at most */
};

struct packet {
    char *bytes;
    size_t len;
};

struct host {
    struct world *w;
    struct gossip *g; /* NULL: down */
    uint32_t index, lives;
    uint64_t boot;
    uint64_t tick;    /* when it is due, microseconds */
    uint64_t began;   /* its life, microseconds */
    int64_t clock_ms; /* its clock is ahead by so much */
    bool is_paused;
    bool is_left;
    bool is_told;          /* that its name is taken */
    uint64_t deaths;       /* its own verdicts that were seen */
    struct packet *socket; /* what came while it was paused */
    unsigned nsocket;
};

struct world {
    uint64_t now; /* microseconds */
    uint64_t hash;
    struct heap heap;
    struct dice dice;
    struct gossip_conf conf;
    struct host *hosts;
    uint32_t nhosts;
    unsigned meta;       /* bytes */
    bool is_shared_name; /* all have one name */

    uint32_t loss, doubled;        /* per thousand */
    uint64_t delay_min, delay_max; /* microseconds */
    unsigned buffer;
    uint32_t cut;    /* the first so many hosts are apart from the others */
    bool is_one_way; /* only packets from them are lost */
    bool has_links;  /* data links vouch for who is reached */
    bool is_mute;    /* and are silent, not broken, when they end */

    unsigned char *view; /* [of][about]: alive? */
    uint64_t wrong;      /* views that are not so, of all that are up */
    uint64_t settled;    /* since when there is none */

    uint64_t events, packets, bytes, lost, overflown;
    uint64_t false_verdicts; /* members that declared a living one dead */
    uint64_t false_views;    /* members that held a living one for dead */
    uint32_t victim;         /* who was crashed, and when how many knew */
    uint64_t first_death;
};

void world_init(struct world *w, uint32_t hosts, uint64_t seed);
void world_fini(struct world *w);

void world_start(struct world *w, uint32_t host); /* with a new boot */
void world_crash(struct world *w, uint32_t host);
void world_leave(struct world *w, uint32_t host);
void world_pause(struct world *w, uint32_t host, bool is_paused);

/* Run `fn` at a time. */
void world_at(struct world *w, uint64_t time, uint32_t what);

/* Until the time is `until`; `fn` does what world_at() was told. */
void world_run(struct world *w, uint64_t until,
               void (*fn)(struct world *w, uint32_t what));

#endif
