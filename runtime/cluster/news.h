/* news.h - which members there is something to tell of.  Pure.
 *
 * One entry a member: what is told is what is known of it when the packet is
 * written.  Entries that were sent least come first. */
#ifndef SD_CLUSTER_NEWS_H
#define SD_CLUSTER_NEWS_H

#include <stdbool.h>

#include "cluster/members.h"

enum {
    NEWS_LIMIT = 16 /* of times that one entry is sent */
};

struct news {
    struct list sent[NEWS_LIMIT]; /* by how often; new ones at the end */
    uint32_t count;
};

void news_init(struct news *n);

/* Something new about `m`; with `is_full` its content, too. */
void news_add(struct news *n, struct member *m, bool is_full);
void news_del(struct news *n, struct member *m);
bool news_has(const struct member *m);

/* Its content is still to be told, too. */
static inline bool news_is_full(const struct member *m, unsigned limit)
{
    return m->sent_full < limit && m->known == m->edition;
}

/* The entry was sent, its content with it or not; it goes when it was sent
 * `limit` times. */
void news_sent(struct news *n, struct member *m, bool is_full, unsigned limit);

#endif
