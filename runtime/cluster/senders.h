/* senders.h - whose datagrams have been believed: their ciphers and windows.
 *
 * Private to seal.c; embedded there, and pure.  A sender is known by cluster
 * key and salt together.  The table is bounded: one more pushes out the one
 * that was silent for longest. */
#ifndef SD_CLUSTER_SENDERS_H
#define SD_CLUSTER_SENDERS_H

#include <openssl/evp.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "cluster/keys.h"
#include "cluster/window.h"

enum {
    SENDERS_SALT = 16
};

struct sender {
    struct table_node node;
    struct list used; /* in senders.used */
    uint64_t key;     /* its number in the ring */
    uint8_t salt[SENDERS_SALT];
    struct window seen;
    EVP_CIPHER_CTX *cipher; /* keyed, to open with */
};

struct senders {
    struct table table;
    struct list used; /* silent for longest in front */
    unsigned max;
};

void senders_init(struct senders *t, unsigned max);
void senders_fini(struct senders *t);

/* NULL: nobody we know. */
struct sender *senders_find(const struct senders *t, uint64_t key,
                            const uint8_t salt[SENDERS_SALT]);

/* A sender that was not known, with an empty window; takes the cipher. */
struct sender *senders_add(struct senders *t, uint64_t key,
                           const uint8_t salt[SENDERS_SALT],
                           EVP_CIPHER_CTX *cipher);

/* It was heard just now. */
void senders_touch(struct senders *t, struct sender *sender);

/* Forget those whose key has left the ring. */
void senders_sift(struct senders *t, const struct keys *ring);

#endif
