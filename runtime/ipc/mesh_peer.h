/* mesh_peer.h - what a mesh knows of each other process; private.
 *
 * Shared by mesh.c (life), mesh_poll.c (reading), mesh_send.c (writing). */
#ifndef SD_IPC_MESH_PEER_H
#define SD_IPC_MESH_PEER_H

#include "ipc/body.h"
#include "ipc/mesh_map.h"

#define MESH_MAGIC 0x4d455348u

enum {
    /* A record's type is enum msg_type and these. */
    MESH_FAR_BIT = 1 << 30, /* struct body_name, v[0]; the rest as memfd */
    MESH_ANSWER_BIT = 1 << 29,
    MESH_TYPE_MASK = 0xffff,

    MESH_ROOM = 256 - RING_REC_HEAD /* bytes that each answer can count on */
};

/* Also the longest answer's pad must fit. */
_Static_assert((MESH_CALLS_MAX + 1) * (MESH_ROOM + RING_REC_HEAD) <=
                   MAP_RING_KEEP,
               "kept room holds all answers");
_Static_assert(sizeof(struct body_name) + MESH_HEAD_MAX <= MESH_ROOM,
               "a far answer fits into its room");

struct peer {
    struct ring in;
    struct ring out;
    uint16_t epoch; /* of the process these rings were entered with */
    bool talks;
    unsigned calls;   /* not answered, or their answer not yet popped */
    struct slice far; /* mapped body of the record that is first in `in` */
};

struct mesh {
    unsigned magic;
    unsigned self;
    uint16_t epoch;
    struct mesh_map map;
    struct mesh_hooks hooks;
    struct peer *peers;
    struct body_box *box;

    bool is_lazy;
    uint64_t unrung[MAP_WORDS];  /* peers to be woken by mesh_ring_doors() */
    uint64_t pending[MAP_WORDS]; /* peers whose ring may hold messages */
    uint64_t held[MAP_WORDS];    /* of these, who waits for mesh_resume() */
    uint64_t starved[MAP_WORDS]; /* of these, who waits for room in the box */
    uint32_t deaths;             /* as far as handled */
    unsigned turn;               /* who is asked first at the next poll */
    bool polling;
    struct peer *current; /* whose message on_msg has, NULL once popped */
    bool current_answer;

    struct mesh_sent sent; /* to processes that have died since */
    uint64_t bodies;       /* sent, numbers their names */
    uint64_t garbage;

    int memory_fd;
    int body_in[SLOTS_MAX]; /* all of them only in the master */
    int body_out[SLOTS_MAX];
    int wake[SLOTS_MAX];
};

static inline void mesh_bit_set(uint64_t *bits, unsigned i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

/* Is there anything that mesh_poll() would hand on? */
bool mesh_has_work(const struct mesh *m);

/* Tell slot `to` that something waits for it. */
void mesh_ring_door(struct mesh *m, unsigned to);

#endif
