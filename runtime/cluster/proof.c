/* proof.c - see proof.h. */
#include "cluster/proof.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cluster/agree.h"
#include "cluster/keys.h"

#define PROOF_MAGIC 0x70726f6fu

_Static_assert((int)HAND_KEYS == (int)KEYS_MAX &&
                   (int)HAND_KEY == (int)KEYS_SECRET &&
                   (int)HAND_KEY_ID == (int)KEYS_ID &&
                   (int)HAND_CLUSTER == (int)KEYS_NAME,
               "one and the same keys");

struct proof {
    unsigned magic;
    struct keys *keys;
    struct hand_key shown[HAND_KEYS];
    struct hand_conf hand;
    struct questions asked;
    struct buf identity;
    struct hash_key hash;
};

static void fill(struct proof *p, const struct conf *conf)
{
    const struct key *k;

    agree_wipe(p->shown, sizeof(p->shown));
    p->hand.nkeys = 0;
    while ((k = keys_at(p->keys, p->hand.nkeys)) != NULL) {
        memcpy(p->shown[p->hand.nkeys].id, k->id, KEYS_ID);
        memcpy(p->shown[p->hand.nkeys].key, k->secret, KEYS_SECRET);
        p->hand.nkeys++;
    }
    p->hand.plain = !conf->cluster.encrypt;
}

static void make_hash_key(struct proof *p)
{
    unsigned char out[AGREE_LEN];

    agree_expand(out, p->shown[0].key, "sdlua names 1", slice_make("", 0));
    memcpy(&p->hash, out, sizeof(p->hash));
    agree_wipe(out, sizeof(out));
}

int proof_new(struct proof **out, const struct conf *conf,
              const struct identity *self, const char **why)
{
    struct proof *p = mem_zalloc(sizeof(*p));
    int err;

    p->magic = PROOF_MAGIC;
    p->keys = keys_new(slice_str(conf->cluster.name));
    err = keys_set(p->keys, &conf->cluster.key, why);
    if (err < 0) {
        proof_free(&p);
        return err;
    }
    identity_write(&p->identity, self);
    p->hand.keys = p->shown;
    p->hand.asked = &p->asked;
    p->hand.identity = buf_slice(&p->identity);
    memcpy(p->hand.cluster, keys_name(p->keys), HAND_CLUSTER);
    fill(p, conf);
    make_hash_key(p);
    *out = p;
    return 0;
}

void proof_free(struct proof **pp)
{
    struct proof *p = *pp;

    if (p == NULL)
        return;
    sd_check(p, PROOF_MAGIC);
    keys_free(&p->keys);
    buf_fini(&p->identity);
    agree_wipe(p, sizeof(*p));
    mem_free(p);
    *pp = NULL;
}

int proof_take(struct proof *p, const struct conf *conf, const char **why)
{
    int err;

    sd_check(p, PROOF_MAGIC);
    err = keys_set(p->keys, &conf->cluster.key, why);
    if (err == 0)
        fill(p, conf);
    return err;
}

const struct hand_conf *proof_hand(const struct proof *p)
{
    return &p->hand;
}

struct hash_key proof_hash_key(const struct proof *p)
{
    return p->hash;
}
