/* roster.h - who there is in the cluster, as the agent has learned it: relays
 * to link to, and nodes that live.
 *
 * One page of shared memory (ipc/page.h): the agent replaces it as a whole,
 * workers and relays read it when its serial has changed. */
#ifndef SD_IPC_ROSTER_H
#define SD_IPC_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ROSTER_RELAYS = 256,
    ROSTER_NODES = 4096,
    ROSTER_NAME = 64,    /* with NUL */
    ROSTER_NAMES = 65536 /* bytes of the names of nodes */
};

/* Where a relay listens; a multiple of 8 bytes, without gaps. */
struct roster_relay {
    uint64_t boot;        /* of its dispatch */
    unsigned char ip[16]; /* of IPv4: mapped, ::ffff:a.b.c.d */
    uint32_t reserved;
    uint16_t port, index;       /* within the dispatch */
    char dispatch[ROSTER_NAME]; /* its name; longer ones are cut */
};

struct roster_list {
    uint32_t nrelays, nnodes;
    struct roster_relay relays[ROSTER_RELAYS];
    uint64_t nodes[ROSTER_NODES]; /* boots, ascending */
    char names[ROSTER_NAMES];     /* theirs, each with NUL, while they fit */
};

struct roster; /* zeroed memory is an empty one; aligned to 64 */

size_t roster_size(void);

/* The agent. */
void roster_write(struct roster *r, const struct roster_list *list);

/* Everybody.  The serial changes with every write. */
uint64_t roster_serial(const struct roster *r);
void roster_read(const struct roster *r, struct roster_list *out);

/* Does a node of this boot live? */
bool roster_has(const struct roster_list *list, uint64_t boot);

/* The name of the node behind the one with this name, of which the first is
 * list->names; "": it did not fit. */
const char *roster_next_name(const struct roster_list *list, const char *name);

#endif
