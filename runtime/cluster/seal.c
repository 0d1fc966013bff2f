/* seal.c - see seal.h.
 *
 * One rule stands above all: nothing is kept of a datagram before its tag was
 * right.  Somebody without the key enters nothing into the table of senders,
 * pushes nobody out of it and moves no window.  Nor does he cost much: with a
 * wrong key id a look at the ring; with the right one (it can be read off the
 * wire) and a salt of his own a derivation and a pass over his bytes, and no
 * more than SEAL_STRANGERS of these are done in vain a second.  While he keeps
 * that up, a process that starts has to wait for its turn; those that are
 * known notice nothing.
 *
 * A sender is known by cluster key and salt together.  When the cluster moves
 * to another key, every process is a new sender under it, with a window of
 * its own; those of the old key go with the key.  Our own counter just goes
 * on, so a nonce is never used twice even when a key is put first, taken from
 * the front and put first again.
 *
 * What the window cannot see are datagrams of processes that are not, or no
 * more, in the table: those recorded before our start, for one.  What is said
 * in datagrams must do no harm when it is heard again (docs/protocol).
 *
 * Ciphers are kept ready, keyed, one a sender: what remains to be done for a
 * datagram is to set its nonce.  The one in `trial` is keyed for strangers
 * and becomes a sender's when one was believed. */
#include "cluster/seal.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/agree.h"
#include "cluster/senders.h"

#define SEAL_STRUCT_MAGIC 0x7365616c

enum {
    AT_KEY = 2, /* offsets in a head */
    AT_SALT = AT_KEY + KEYS_ID,
    AT_COUNTER = AT_SALT + SEAL_SALT,
    NONCE = 12,
    COUNTER = 8,
    AAD = SEAL_HEAD + KEYS_NAME, /* what the tag covers besides */
    SECOND = 1000
};

static const char info[] = "sdlua gossip 1";

struct seal {
    unsigned magic;
    const struct keys *ring;
    uint64_t version; /* of the ring, that the rest follows */
    EVP_CIPHER *aes;

    /* sending */
    uint64_t key; /* number of the key that `cipher` was made of, or 0 */
    EVP_CIPHER_CTX *cipher;
    uint64_t counter; /* the last one used */
    uint8_t head[SEAL_HEAD];

    /* receiving */
    struct senders senders;
    EVP_CIPHER_CTX *trial; /* or NULL */
    uint64_t second;       /* start of the one that is counted in */
    unsigned strangers;    /* tried in it, in vain */

    uint64_t counts[SEAL_VERDICTS];
};

/* --- keys ----------------------------------------------------------------- */

/* A cipher keyed for one sender; 1 as `enc`: to seal, 0: to open. */
static void rekey(struct seal *s, EVP_CIPHER_CTX *ctx, const struct key *key,
                  const uint8_t *salt, int enc)
{
    uint8_t secret[AGREE_LEN];

    agree_extract(secret, slice_make(salt, SEAL_SALT),
                  slice_make(key->secret, KEYS_SECRET));
    agree_expand(secret, secret, info, slice_make("", 0));
    sd_assert(EVP_CipherInit_ex2(ctx, s->aes, secret, NULL, enc, NULL) == 1);
    OPENSSL_cleanse(secret, sizeof(secret));
}

static EVP_CIPHER_CTX *new_cipher(void)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    sd_assert(ctx != NULL);
    return ctx;
}

/* The ring may have changed since the last call. */
static void follow(struct seal *s)
{
    const struct key *first = keys_at(s->ring, 0);

    if (s->version == keys_version(s->ring))
        return;
    s->version = keys_version(s->ring);
    if (s->key != first->number) {
        s->key = first->number;
        memcpy(s->head + AT_KEY, first->id, KEYS_ID);
        rekey(s, s->cipher, first, s->head + AT_SALT, 1);
    }
    senders_sift(&s->senders, s->ring);
}

/* --- one datagram --------------------------------------------------------- */

/* Set the nonce and feed what the tag covers besides what is said. */
static bool begin(const struct seal *s, EVP_CIPHER_CTX *ctx,
                  const uint8_t head[SEAL_HEAD])
{
    uint8_t nonce[NONCE] = {0}, aad[AAD];
    int n;

    memcpy(nonce + NONCE - COUNTER, head + AT_COUNTER, COUNTER);
    memcpy(aad, head, SEAL_HEAD);
    memcpy(aad + SEAL_HEAD, keys_name(s->ring), KEYS_NAME);
    return EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) == 1 &&
           EVP_CipherUpdate(ctx, NULL, &n, aad, AAD) == 1;
}

/* Is the tag right?  `out` has room for what is said. */
static bool decrypt(const struct seal *s, EVP_CIPHER_CTX *ctx,
                    struct slice datagram, char *out)
{
    const uint8_t *head = (const uint8_t *)datagram.p;
    int len = (int)(datagram.len - SEAL_OVERHEAD), n = 0, rest = 0;
    uint8_t tag[SEAL_TAG];
    bool ok;

    memcpy(tag, head + SEAL_HEAD + len, SEAL_TAG);
    ok = begin(s, ctx, head) &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, tag) == 1 &&
         EVP_CipherUpdate(ctx, (unsigned char *)out, &n, head + SEAL_HEAD,
                          len) == 1 &&
         EVP_CipherFinal_ex(ctx, (unsigned char *)out + n, &rest) == 1;
    if (!ok)
        ERR_clear_error(); /* nobody is to find it and think it is his */
    return ok;
}

/* May one more unknown sender be tried in this second? */
static bool has_time(struct seal *s, uint64_t now)
{
    if (now - s->second >= SECOND) {
        s->second = now;
        s->strangers = 0;
    }
    return s->strangers < SEAL_STRANGERS;
}

static enum seal_verdict open_stranger(struct seal *s, uint64_t now,
                                       const struct key *key,
                                       struct slice datagram, char *out,
                                       struct sender **sender)
{
    const uint8_t *salt = (const uint8_t *)datagram.p + AT_SALT;

    if (!has_time(s, now))
        return SEAL_CROWDED;
    if (s->trial == NULL)
        s->trial = new_cipher();
    rekey(s, s->trial, key, salt, 0);
    if (!decrypt(s, s->trial, datagram, out)) {
        s->strangers++;
        return SEAL_BAD_TAG;
    }
    *sender = senders_add(&s->senders, key->number, salt, s->trial);
    s->trial = NULL;
    return SEAL_OPENED;
}

static enum seal_verdict open_known(struct seal *s, struct sender *sender,
                                    uint64_t counter, struct slice datagram,
                                    char *out)
{
    switch (window_judge(&sender->seen, counter)) {
    case WINDOW_SEEN:
        return SEAL_REPLAYED;
    case WINDOW_OLD:
        return SEAL_OLD;
    case WINDOW_FRESH:
        break;
    }
    if (!decrypt(s, sender->cipher, datagram, out))
        return SEAL_BAD_TAG;
    return SEAL_OPENED;
}

/* What the head alone tells; SEAL_OPENED: nothing against it. */
static enum seal_verdict judge_head(const struct seal *s, struct slice datagram,
                                    const struct key **key)
{
    const uint8_t *head = (const uint8_t *)datagram.p;

    if (datagram.len < SEAL_OVERHEAD || datagram.len > SEAL_DATAGRAM_MAX)
        return SEAL_BAD_SIZE;
    if (head[0] != SEAL_MAGIC)
        return SEAL_BAD_MAGIC;
    if (head[1] != SEAL_VERSION)
        return SEAL_BAD_VERSION;
    *key = keys_find(s->ring, head + AT_KEY);
    if (*key == NULL)
        return SEAL_BAD_KEY;
    if (memcmp(head + AT_SALT, s->head + AT_SALT, SEAL_SALT) == 0)
        return SEAL_OWN;
    return SEAL_OPENED;
}

static uint64_t counter_of(struct slice datagram)
{
    uint64_t counter;

    memcpy(&counter, datagram.p + AT_COUNTER, COUNTER);
    return be64toh(counter);
}

static enum seal_verdict unwrap(struct seal *s, uint64_t now,
                                struct slice datagram, struct buf *out)
{
    const struct key *key;
    enum seal_verdict v = judge_head(s, datagram, &key);
    struct sender *sender;
    uint64_t counter;
    char *plain;

    if (v != SEAL_OPENED)
        return v;
    counter = counter_of(datagram);
    if (counter == 0)
        return SEAL_OLD;
    plain = buf_reserve(out, datagram.len - SEAL_OVERHEAD);
    sender = senders_find(&s->senders, key->number,
                          (const uint8_t *)datagram.p + AT_SALT);
    if (sender != NULL)
        v = open_known(s, sender, counter, datagram, plain);
    else
        v = open_stranger(s, now, key, datagram, plain, &sender);
    if (v != SEAL_OPENED)
        return v;
    window_note(&sender->seen, counter);
    senders_touch(&s->senders, sender);
    buf_commit(out, datagram.len - SEAL_OVERHEAD);
    return SEAL_OPENED;
}

/* --- public --------------------------------------------------------------- */

struct seal *seal_new(const struct keys *ring, const uint8_t salt[SEAL_SALT],
                      unsigned senders)
{
    struct seal *s = mem_zalloc(sizeof(*s));

    s->magic = SEAL_STRUCT_MAGIC;
    s->ring = ring;
    s->aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    sd_assert(s->aes != NULL);
    s->cipher = new_cipher();
    s->head[0] = SEAL_MAGIC;
    s->head[1] = SEAL_VERSION;
    memcpy(s->head + AT_SALT, salt, SEAL_SALT);
    senders_init(&s->senders, senders);
    follow(s);
    return s;
}

void seal_free(struct seal **sp)
{
    struct seal *s = *sp;

    *sp = NULL;
    if (s == NULL)
        return;
    sd_check(s, SEAL_STRUCT_MAGIC);
    senders_fini(&s->senders);
    EVP_CIPHER_CTX_free(s->trial); /* these wipe their keys */
    EVP_CIPHER_CTX_free(s->cipher);
    EVP_CIPHER_free(s->aes);
    s->magic = 0;
    mem_free(s);
}

int seal_wrap(struct seal *s, struct slice plain, struct buf *out)
{
    size_t size = plain.len + SEAL_OVERHEAD;
    int n = 0, rest = 0;
    uint64_t counter;
    uint8_t *at;

    sd_check(s, SEAL_STRUCT_MAGIC);
    if (plain.len > SEAL_DATAGRAM_MAX - SEAL_OVERHEAD)
        return SD_ETOOLARGE;
    follow(s);
    sd_assert(s->counter < UINT64_MAX);
    counter = htobe64(++s->counter);
    memcpy(s->head + AT_COUNTER, &counter, COUNTER);
    at = (uint8_t *)buf_reserve(out, size);
    memcpy(at, s->head, SEAL_HEAD);
    sd_assert(begin(s, s->cipher, at) &&
              EVP_CipherUpdate(s->cipher, at + SEAL_HEAD, &n,
                               (const uint8_t *)plain.p, (int)plain.len) == 1 &&
              EVP_CipherFinal_ex(s->cipher, at + SEAL_HEAD + n, &rest) == 1 &&
              EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG,
                                  at + SEAL_HEAD + plain.len) == 1);
    buf_commit(out, size);
    return 0;
}

enum seal_verdict seal_unwrap(struct seal *s, uint64_t now,
                              struct slice datagram, struct buf *out)
{
    enum seal_verdict v;

    sd_check(s, SEAL_STRUCT_MAGIC);
    follow(s);
    v = unwrap(s, now, datagram, out);
    s->counts[v]++;
    return v;
}

uint64_t seal_count(const struct seal *s, enum seal_verdict v)
{
    sd_check(s, SEAL_STRUCT_MAGIC);
    return s->counts[v];
}

void seal_excuse(struct seal *s, enum seal_verdict v)
{
    sd_check(s, SEAL_STRUCT_MAGIC);
    sd_assert(s->counts[v] > 0);
    s->counts[v]--;
}

const char *seal_word(enum seal_verdict v)
{
    static const char *const words[SEAL_VERDICTS] = {
        [SEAL_OPENED] = "opened",       [SEAL_BAD_SIZE] = "size",
        [SEAL_BAD_MAGIC] = "magic",     [SEAL_BAD_VERSION] = "version",
        [SEAL_BAD_KEY] = "unknown_key", [SEAL_OWN] = "own",
        [SEAL_REPLAYED] = "replayed",   [SEAL_OLD] = "old",
        [SEAL_CROWDED] = "crowded",     [SEAL_BAD_TAG] = "bad_tag",
    };

    return words[v];
}

unsigned seal_senders(const struct seal *s)
{
    sd_check(s, SEAL_STRUCT_MAGIC);
    return s->senders.table.count;
}
