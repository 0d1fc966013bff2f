/* census.h - membership, written into the roster (ipc/roster.h). */
#ifndef SD_PROC_CENSUS_H
#define SD_PROC_CENSUS_H

#include <stdbool.h>

#include "cluster/gossip.h"
#include "ipc/roster.h"

struct census {
    struct roster *roster;      /* borrowed */
    struct roster_list *former; /* what the agent before us wrote, or NULL */
    /* False: it is of no concern to this instance. */
    bool (*is_wanted)(void *arg, const struct gossip_member *m);
    void *arg;
};

/* The other fields are the caller's; `roster` is looked at. */
void census_open(struct census *c);
void census_close(struct census *c);

/* All that live, and those of the former agent's of whom `g` has not heard
 * yet. */
void census_write(const struct census *c, const struct gossip *g);

/* Whom we have not heard of by now is not there. */
void census_forget(struct census *c);

#endif
