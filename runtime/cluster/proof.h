/* proof.h - what a process of this cluster shows at a handshake: its keys, its
 * cluster's name and who it is. */
#ifndef SD_CLUSTER_PROOF_H
#define SD_CLUSTER_PROOF_H

#include "base/conf.h"
#include "base/hash.h"
#include "cluster/hand.h"
#include "cluster/identity.h"

struct proof;

/* SD_EINVALID: a key that is none, with a constant text in *why. */
int proof_new(struct proof **out, const struct conf *conf,
              const struct identity *self, const char **why);
void proof_free(struct proof **pp);

/* Another configuration: its keys.  As proof_new(), or all stays. */
int proof_take(struct proof *p, const struct conf *conf, const char **why);

/* For links_new(): always what it is now. */
const struct hand_conf *proof_hand(const struct proof *p);

/* A key for hashes of names: of the cluster, secret, the same in all processes
 * that began with the same first key. */
struct hash_key proof_hash_key(const struct proof *p);

#endif
