/* hub_interest.h - which links want which publishes.  Pure.
 *
 * A link that has not told everything yet gets everything, and so does one
 * with more filters than a relay is willing to keep. */
#ifndef SD_CLUSTER_HUB_INTEREST_H
#define SD_CLUSTER_HUB_INTEREST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cluster/frames.h"
#include "net/topics.h"

struct interests;

/* Of one link, embedded, opened by zeroing. */
struct interest {
    struct topics_holder topics, groups;
    bool is_complete;
    bool is_over; /* too many filters: some were not kept */
};

struct interests *interests_new(uint32_t most);
void interests_free(struct interests **ip);

/* 0, or SD_EPROTO: no such filter is possible. */
int interest_take(struct interests *all, struct interest *i,
                  const struct frames_interest *told);
void interest_drop(struct interests *all, struct interest *i);

static inline bool interest_is_known(const struct interest *i)
{
    return i->is_complete && !i->is_over;
}

/* Can filters say who wants this?  Else everybody gets it. */
bool interest_tells(enum frames_kind kind, struct slice name);

/* Show the known ones that want it, each once. */
void interest_visit(struct interests *all, enum frames_kind kind,
                    struct slice name, void (*fn)(void *arg, struct interest *),
                    void *arg);

#endif
