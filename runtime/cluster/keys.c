/* keys.c - see keys.h.
 *
 * A ring is small, so everything is looked for from its front.  A new list is
 * read beside the old one and takes its place whole or not at all: a reload
 * with a broken key leaves the cluster as it is. */
#include "cluster/keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"

#define KEYS_MAGIC 0x6b657973

enum {
    HASH = 32,                 /* of SHA-256 */
    DIGITS = KEYS_TEXT,        /* of base64 */
    DECODED = KEYS_SECRET + 1, /* what a decoder makes of them: with what
                                    the padding stands for */
};

/* In front of a name that a key is made of: no hash of the name alone may be
 * a key. */
static const char open_label[] = "sdlua open cluster 1";

struct ring {
    unsigned n;
    struct key key[KEYS_MAX];
};

struct keys {
    unsigned magic;
    struct ring ring;
    bool is_open;
    uint64_t version;
    uint64_t last; /* number given */
    uint8_t name[KEYS_NAME];
    uint8_t open[KEYS_SECRET]; /* the key made of the name */
};

/* --- texts ---------------------------------------------------------------- */

void keys_write(char text[KEYS_TEXT + 1], const uint8_t secret[KEYS_SECRET])
{
    EVP_EncodeBlock((unsigned char *)text, secret, KEYS_SECRET);
}

/* The decoder lets spaces and spare bits pass: what it read is written again
 * and compared, so that a key has one text only. */
int keys_read(uint8_t secret[KEYS_SECRET], struct slice text)
{
    unsigned char bytes[DECODED];
    char again[KEYS_TEXT + 1];
    int err = SD_EINVALID;

    if (text.len != DIGITS)
        return err;
    if (EVP_DecodeBlock(bytes, (const unsigned char *)text.p, DIGITS) ==
        DECODED) {
        keys_write(again, bytes);
        if (CRYPTO_memcmp(again, text.p, DIGITS) == 0) {
            memcpy(secret, bytes, KEYS_SECRET);
            err = 0;
        }
        OPENSSL_cleanse(again, sizeof(again));
    }
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return err;
}

/* --- the ring ------------------------------------------------------------- */

static void digest(uint8_t out[HASH], const char *label, struct slice text)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    sd_assert(ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, label, strlen(label)) == 1 &&
              EVP_DigestUpdate(ctx, text.p, text.len) == 1 &&
              EVP_DigestFinal_ex(ctx, out, NULL) == 1);
    EVP_MD_CTX_free(ctx);
}

static const struct key *find_secret(const struct ring *ring,
                                     const uint8_t secret[KEYS_SECRET])
{
    unsigned i;

    for (i = 0; i < ring->n; i++) {
        if (CRYPTO_memcmp(ring->key[i].secret, secret, KEYS_SECRET) == 0)
            return &ring->key[i];
    }
    return NULL;
}

static const struct key *find_id(const struct ring *ring,
                                 const uint8_t id[KEYS_ID])
{
    unsigned i;

    for (i = 0; i < ring->n; i++) {
        if (memcmp(ring->key[i].id, id, KEYS_ID) == 0)
            return &ring->key[i];
    }
    return NULL;
}

/* One more key behind the others; SD_EINVALID when its id is taken. */
static int add(struct keys *k, struct ring *ring,
               const uint8_t secret[KEYS_SECRET])
{
    const struct key *old = find_secret(&k->ring, secret);
    struct key *key = &ring->key[ring->n];
    uint8_t hash[HASH];

    digest(hash, "", slice_make(secret, KEYS_SECRET));
    if (find_id(ring, hash) != NULL)
        return SD_EINVALID;
    memcpy(key->id, hash, KEYS_ID);
    memcpy(key->secret, secret, KEYS_SECRET);
    key->number = old != NULL ? old->number : ++k->last;
    ring->n++;
    return 0;
}

static int read_all(struct keys *k, struct ring *ring,
                    const struct conf_list *texts, const char **why)
{
    uint8_t secret[KEYS_SECRET];
    unsigned i;
    int err = 0;

    *why = "more than 3 keys";
    if (texts->n > KEYS_MAX)
        return SD_EINVALID;
    for (i = 0; i < texts->n && err == 0; i++) {
        *why = "no base64 of 32 bytes";
        err = keys_read(secret, slice_str(texts->at[i]));
        if (err == 0) {
            *why = "two keys with the same id";
            err = add(k, ring, secret);
        }
    }
    OPENSSL_cleanse(secret, sizeof(secret));
    return err;
}

/* --- public --------------------------------------------------------------- */

struct keys *keys_new(struct slice cluster)
{
    static const struct conf_list none;
    struct keys *k = mem_zalloc(sizeof(*k));
    uint8_t hash[HASH];
    const char *why;

    k->magic = KEYS_MAGIC;
    digest(hash, "", cluster);
    memcpy(k->name, hash, KEYS_NAME);
    digest(k->open, open_label, cluster);
    sd_assert(keys_set(k, &none, &why) == 0);
    return k;
}

void keys_free(struct keys **kp)
{
    struct keys *k = *kp;

    *kp = NULL;
    if (k == NULL)
        return;
    sd_check(k, KEYS_MAGIC);
    OPENSSL_cleanse(k, sizeof(*k)); /* the magic, too */
    mem_free(k);
}

int keys_set(struct keys *k, const struct conf_list *texts, const char **why)
{
    struct ring ring = {0};
    int err;

    sd_check(k, KEYS_MAGIC);
    err = read_all(k, &ring, texts, why);
    if (err == 0 && ring.n == 0)
        err = add(k, &ring, k->open);
    if (err == 0) {
        k->ring = ring; /* over the old secrets */
        k->is_open = texts->n == 0;
        k->version++;
    }
    OPENSSL_cleanse(&ring, sizeof(ring));
    return err;
}

bool keys_is_open(const struct keys *k)
{
    sd_check(k, KEYS_MAGIC);
    return k->is_open;
}

uint64_t keys_version(const struct keys *k)
{
    sd_check(k, KEYS_MAGIC);
    return k->version;
}

const struct key *keys_at(const struct keys *k, unsigned i)
{
    sd_check(k, KEYS_MAGIC);
    return i < k->ring.n ? &k->ring.key[i] : NULL;
}

const struct key *keys_find(const struct keys *k, const uint8_t id[KEYS_ID])
{
    sd_check(k, KEYS_MAGIC);
    return find_id(&k->ring, id);
}

const uint8_t *keys_name(const struct keys *k)
{
    sd_check(k, KEYS_MAGIC);
    return k->name;
}
