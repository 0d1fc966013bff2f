/* seeds.h - the addresses behind cluster.seeds, looked up again and again: a
 * name may come to have others. */
#ifndef SD_CLUSTER_SEEDS_H
#define SD_CLUSTER_SEEDS_H

#include "base/conf.h"
#include "cluster/gossip_member.h"
#include "loop/loop.h"

struct seeds;

/* `on_found` gets all that are known, each time one was looked up; never inside
 * a call. */
struct seeds *seeds_new(struct loop *loop,
                        void (*on_found)(void *arg,
                                         const struct gossip_address *list,
                                         unsigned n),
                        void *arg);
void seeds_free(struct seeds **sp);

/* Other ones ("host:port"), copied. */
void seeds_set(struct seeds *s, const struct conf_list *texts);

#endif
