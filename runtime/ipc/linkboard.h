/* linkboard.h - the links of a process to processes of other nodes, for the
 * agent: who of them was heard, and how the links are.
 *
 * One page of shared memory per slot (ipc/page.h), with the epoch of the
 * process: of one that is no more, nothing is read. */
#ifndef SD_IPC_LINKBOARD_H
#define SD_IPC_LINKBOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LINKBOARD_MAX = 128 /* links of a process; others are left out */
};

/* A multiple of 8 bytes, without gaps. */
struct linkboard_link {
    uint64_t boot;       /* of the other side's node or dispatch */
    uint64_t heard;      /* clock_ms() of its last bytes; 0: it is not open */
    uint32_t index;      /* of a relay within its dispatch, or of a slot */
    uint32_t unsent;     /* bytes */
    uint32_t round_trip; /* us; 0: not known */
    uint32_t is_relay;   /* the other side is one */
    /* Messages; in a relay's lines the sums over all links to that node. */
    uint64_t received, sent;
    uint32_t filters;    /* topics and groups that publishes are wanted of */
    uint32_t is_flooded; /* not all are told: every publish crosses it */
};

struct linkboard_list {
    uint64_t epoch; /* of the process that wrote it */
    uint64_t n;
    struct linkboard_link link[LINKBOARD_MAX];
};

struct linkboard; /* the page of one slot, zeroed at first */

/* Bytes of one page; pages lie one behind the other, 64-byte aligned. */
size_t linkboard_size(void);

/* Owner of the slot; fills in the epoch. */
void linkboard_write(struct linkboard *b, uint16_t epoch,
                     struct linkboard_list *list);

/* Everybody: what the process of that epoch wrote last.  False: nothing. */
bool linkboard_read(const struct linkboard *b, uint16_t epoch,
                    struct linkboard_list *out);

#endif
