/* hand.c - see hand.h.
 *
 * Four messages, worker and relay in turn:
 *
 *     question   hello of the worker, with a check that only a holder of the
 *                cluster's key can make
 *     answer     hello of the relay, with the relay's first proof
 *     proof      of the worker, with its identity
 *     proof      of the relay, with its identity
 *
 * A hello is the same 116 bytes for both: header, nonce, an X25519 key made
 * for this link, and 32 bytes of check or proof.  A proof is a length, 32
 * bytes and an identity; it covers length and identity, the relay's also the
 * worker's proof.  How each is made is in cluster/terms.h.
 *
 * The check in the question costs the relay one HMAC and spares it the rest:
 * who has no key gets no answer, not one byte, and no X25519 computed.  Nor
 * does a recorded question, as long as the relay remembers it
 * (cluster/questions.h); an older one gets an answer, with which its owner can
 * do nothing.
 *
 * Identities are hidden unless the link is plain.  The proof covers the hidden
 * form, so an identity is looked at only after the proof was right. */
#include "cluster/hand.h"

#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/agree.h"

#define HAND_MAGIC 0x48a9d5e1u

enum {
    /* Places in a hello. */
    AT_VERSION = 4,
    AT_FLAGS = 5,
    AT_ZERO = 6, /* two bytes */
    AT_KEY_ID = 8,
    AT_CLUSTER = 12,
    AT_NONCE = 20,
    AT_PUBLIC = 52,
    AT_CHECK = 84, /* of the question, or the answer's proof */

    FLAG_PLAIN = 1,

    /* Places in a proof. */
    AT_PROOF = 2,
    AT_IDENTITY = 34,
};

enum state {
    STATE_HELLO, /* the peer's hello is awaited */
    STATE_PROOF, /* the peer's proof is awaited */
    STATE_DONE,
    STATE_FAILED,
};

struct hand {
    unsigned magic;
    enum hand_role role;
    enum state state;
    enum hand_why why;
    unsigned peer_version;
    unsigned nkeys;
    struct hand_key keys[HAND_KEYS];
    const struct hand_key *key; /* of `keys`, the one in use */
    struct questions *asked;    /* or NULL */

    unsigned char own_private[AGREE_LEN];
    unsigned char own[HAND_HELLO];
    struct terms terms;
    unsigned char worker_proof[AGREE_LEN];
    size_t identity_len;
    char identity[HAND_IDENTITY_MAX];

    size_t have; /* bytes of the peer's message, which is at `in` */
    unsigned char in[HAND_PROOF_MAX];
    char peer[HAND_IDENTITY_MAX];
    struct hand_session session;
};

static const unsigned char hello_magic[] = {'s', 'd', 'l', 'k'};

static enum hand_role other(enum hand_role role)
{
    return role == HAND_WORKER ? HAND_RELAY : HAND_WORKER;
}

/* What nobody needs once the handshake has ended, well or not. */
static void forget(struct hand *h)
{
    agree_wipe(h->keys, sizeof(h->keys));
    agree_wipe(h->own_private, sizeof(h->own_private));
    agree_wipe(&h->terms, sizeof(h->terms));
    h->key = NULL;
}

/* --- hellos -------------------------------------------------------------- */

static void put_hello(struct hand *h, const struct hand_conf *conf,
                      const unsigned char *entropy)
{
    unsigned char *p = h->own;

    memcpy(p, hello_magic, sizeof(hello_magic));
    p[AT_VERSION] = HAND_VERSION;
    p[AT_FLAGS] = conf->plain ? FLAG_PLAIN : 0;
    memcpy(p + AT_KEY_ID, h->keys[0].id, HAND_KEY_ID);
    memcpy(p + AT_CLUSTER, conf->cluster, HAND_CLUSTER);
    memcpy(p + AT_NONCE, entropy, 32);
    memcpy(h->own_private, entropy + 32, AGREE_LEN);
}

static void send_question(struct hand *h, struct buf *out)
{
    h->key = &h->keys[0];
    agree_public(h->own + AT_PUBLIC, h->own_private);
    terms_check(h->own + AT_CHECK, h->key->key, slice_make(h->own, AT_CHECK));
    buf_append(out, h->own, HAND_HELLO);
}

static const struct hand_key *find_key(const struct hand *h,
                                       const unsigned char *id)
{
    unsigned i;

    for (i = 0; i < h->nkeys; i++) {
        if (memcmp(h->keys[i].id, id, HAND_KEY_ID) == 0)
            return &h->keys[i];
    }
    return NULL;
}

/* The part of a hello that needs no cryptography. */
static enum hand_why read_hello(struct hand *h)
{
    static const unsigned char zero[2];
    const unsigned char *p = h->in;
    const struct hand_key *key;

    if ((p[AT_FLAGS] & ~FLAG_PLAIN) != 0 ||
        memcmp(p + AT_ZERO, zero, sizeof(zero)) != 0)
        return HAND_MALFORMED;
    if (memcmp(p + AT_CLUSTER, h->own + AT_CLUSTER, HAND_CLUSTER) != 0)
        return HAND_OTHER_CLUSTER;
    key = find_key(h, p + AT_KEY_ID);
    if (key == NULL || (h->key != NULL && key != h->key))
        return HAND_UNKNOWN_KEY;
    h->key = key;
    return HAND_FINE;
}

/* The terms of the link, from the peer's hello at `in` and ours. */
static bool agree(struct hand *h)
{
    bool relay = h->role == HAND_RELAY;
    const unsigned char *question = relay ? h->in : h->own;
    const unsigned char *answer = relay ? h->own : h->in;
    bool ok = terms_make(&h->terms, h->key->key, h->own_private,
                         h->in + AT_PUBLIC, slice_make(question, HAND_HELLO),
                         slice_make(answer, AT_CHECK));

    agree_wipe(h->own_private, sizeof(h->own_private));
    return ok;
}

static enum hand_why take_question(struct hand *h, struct buf *out)
{
    unsigned char check[AGREE_LEN];
    enum hand_why why = read_hello(h);

    if (why != HAND_FINE)
        return why;
    terms_check(check, h->key->key, slice_make(h->in, AT_CHECK));
    if (!agree_same(check, h->in + AT_CHECK))
        return HAND_WRONG_PROOF;
    if (h->asked != NULL && !questions_add(h->asked, check))
        return HAND_REPEATED;
    memcpy(h->own + AT_KEY_ID, h->key->id, HAND_KEY_ID);
    agree_public(h->own + AT_PUBLIC, h->own_private);
    if (!agree(h))
        return HAND_WRONG_PROOF;
    terms_answer(h->own + AT_CHECK, &h->terms);
    buf_append(out, h->own, HAND_HELLO);
    return HAND_FINE;
}

/* --- proofs -------------------------------------------------------------- */

static size_t identity_size(const unsigned char *p)
{
    return p[0] | (size_t)p[1] << 8;
}

/* The proof of `role` for the message at `p`, where all but the proof is in
 * place: over length and identity. */
static void prove(const struct hand *h, unsigned char *out, enum hand_role role,
                  const unsigned char *p)
{
    unsigned char now[AT_PROOF + HAND_IDENTITY_MAX];
    size_t len = identity_size(p);
    struct slice before =
        slice_make(h->worker_proof, role == HAND_RELAY ? AGREE_LEN : 0);

    sd_assert(len <= HAND_IDENTITY_MAX);
    memcpy(now, p, AT_PROOF);
    memcpy(now + AT_PROOF, p + AT_IDENTITY, len);
    terms_prove(out, &h->terms, role, before, slice_make(now, AT_PROOF + len));
}

/* Hide an identity of `role`, or show it. */
static void hide(const struct hand *h, enum hand_role role,
                 unsigned char *identity, size_t len)
{
    if (h->session.encrypted)
        terms_hide(identity, len, &h->terms, role);
}

static void send_proof(struct hand *h, struct buf *out)
{
    unsigned char p[HAND_PROOF_MAX];
    size_t len = h->identity_len;

    p[0] = (unsigned char)(len & 0xff);
    p[1] = (unsigned char)(len >> 8);
    memcpy(p + AT_IDENTITY, h->identity, len);
    hide(h, h->role, p + AT_IDENTITY, len);
    prove(h, p + AT_PROOF, h->role, p);
    if (h->role == HAND_WORKER)
        memcpy(h->worker_proof, p + AT_PROOF, AGREE_LEN);
    buf_append(out, p, AT_IDENTITY + len);
}

static enum hand_why take_answer(struct hand *h)
{
    unsigned char proof[AGREE_LEN];
    enum hand_why why = read_hello(h);

    if (why != HAND_FINE)
        return why;
    if (!agree(h))
        return HAND_WRONG_PROOF;
    terms_answer(proof, &h->terms);
    if (!agree_same(proof, h->in + AT_CHECK))
        return HAND_WRONG_PROOF;
    return HAND_FINE;
}

static enum hand_why take_hello(struct hand *h, struct buf *out)
{
    enum hand_why why;
    bool relay = h->role == HAND_RELAY;

    why = relay ? take_question(h, out) : take_answer(h);
    if (why != HAND_FINE)
        return why;
    h->session.encrypted =
        (h->own[AT_FLAGS] & h->in[AT_FLAGS] & FLAG_PLAIN) == 0;
    if (!relay)
        send_proof(h, out);
    h->state = STATE_PROOF;
    return HAND_FINE;
}

/* Both have proved their key: what they agreed on is worth something. */
static void finish(struct hand *h, size_t peer_len)
{
    struct hand_session *s = &h->session;

    terms_records(s->send, &h->terms, h->role);
    terms_records(s->receive, &h->terms, other(h->role));
    memcpy(s->key_id, h->key->id, HAND_KEY_ID);
    s->peer = slice_make(h->peer, peer_len);
    h->state = STATE_DONE;
    forget(h);
}

static enum hand_why take_proof(struct hand *h, struct buf *out)
{
    enum hand_role peer = other(h->role);
    unsigned char proof[AGREE_LEN];
    size_t len = h->have - AT_IDENTITY;

    prove(h, proof, peer, h->in);
    if (!agree_same(proof, h->in + AT_PROOF))
        return HAND_WRONG_PROOF;
    memcpy(h->peer, h->in + AT_IDENTITY, len);
    hide(h, peer, (unsigned char *)h->peer, len);
    if (h->role == HAND_RELAY) {
        memcpy(h->worker_proof, proof, AGREE_LEN);
        send_proof(h, out);
    }
    finish(h, len);
    return HAND_FINE;
}

/* --- from outside -------------------------------------------------------- */

struct hand *hand_create(enum hand_role role, const struct hand_conf *conf,
                         const unsigned char *entropy, struct buf *out)
{
    struct hand *h = mem_zalloc(sizeof(*h));

    sd_assert(conf->nkeys >= 1 && conf->nkeys <= HAND_KEYS);
    sd_assert(conf->identity.len <= HAND_IDENTITY_MAX);
    h->magic = HAND_MAGIC;
    h->role = role;
    h->nkeys = conf->nkeys;
    h->asked = conf->asked;
    memcpy(h->keys, conf->keys, conf->nkeys * sizeof(*conf->keys));
    h->identity_len = conf->identity.len;
    memcpy(h->identity, conf->identity.p, conf->identity.len);
    put_hello(h, conf, entropy);
    if (role == HAND_WORKER)
        send_question(h, out);
    return h;
}

void hand_free(struct hand **h)
{
    if (*h == NULL)
        return;
    sd_check(*h, HAND_MAGIC);
    agree_wipe(*h, sizeof(**h));
    mem_free(*h);
    *h = NULL;
}

static int fail(struct hand *h, enum hand_why why)
{
    h->state = STATE_FAILED;
    h->why = why;
    forget(h);
    return SD_EPROTO;
}

/* How long the peer's message is, as far as what came of it can tell. */
static size_t message_size(const struct hand *h)
{
    if (h->state == STATE_HELLO)
        return HAND_HELLO;
    return h->have < AT_PROOF ? AT_PROOF : AT_IDENTITY + identity_size(h->in);
}

/* Is the beginning of a message already wrong?  Who speaks something else
 * entirely is not waited for. */
static enum hand_why judge(struct hand *h)
{
    size_t n = h->have < sizeof(hello_magic) ? h->have : sizeof(hello_magic);

    if (h->state == STATE_PROOF) {
        if (h->have >= AT_PROOF && identity_size(h->in) > HAND_IDENTITY_MAX)
            return HAND_MALFORMED;
        return HAND_FINE;
    }
    if (memcmp(h->in, hello_magic, n) != 0)
        return HAND_STRANGER;
    if (h->have <= AT_VERSION)
        return HAND_FINE;
    h->peer_version = h->in[AT_VERSION];
    return h->peer_version == HAND_VERSION ? HAND_FINE : HAND_OTHER_VERSION;
}

static enum hand_why take(struct hand *h, struct buf *out)
{
    enum hand_why why;

    why = h->state == STATE_HELLO ? take_hello(h, out) : take_proof(h, out);
    h->have = 0;
    return why;
}

int hand_feed(struct hand *h, struct slice in, struct buf *out)
{
    size_t taken = 0, n;
    enum hand_why why;

    sd_check(h, HAND_MAGIC);
    while (h->state < STATE_DONE && taken < in.len) {
        n = message_size(h) - h->have;
        if (n > in.len - taken)
            n = in.len - taken;
        memcpy(h->in + h->have, in.p + taken, n);
        h->have += n;
        taken += n;
        why = judge(h);
        if (why == HAND_FINE && h->have == message_size(h))
            why = take(h, out);
        if (why != HAND_FINE)
            return fail(h, why);
    }
    return h->state == STATE_FAILED ? SD_EPROTO : (int)taken;
}

const struct hand_session *hand_session(const struct hand *h)
{
    sd_check(h, HAND_MAGIC);
    return h->state == STATE_DONE ? &h->session : NULL;
}

bool hand_has_asked(const struct hand *h)
{
    sd_check(h, HAND_MAGIC);
    return h->state == STATE_PROOF || h->state == STATE_DONE;
}

enum hand_why hand_why(const struct hand *h)
{
    sd_check(h, HAND_MAGIC);
    return h->why;
}

unsigned hand_peer_version(const struct hand *h)
{
    sd_check(h, HAND_MAGIC);
    return h->peer_version;
}

const char *hand_why_text(enum hand_why why)
{
    static const char *const texts[] = {
        [HAND_FINE] = "nothing is wrong",
        [HAND_STRANGER] = "does not speak the protocol of links",
        [HAND_OTHER_VERSION] = "speaks another version of the protocol",
        [HAND_OTHER_CLUSTER] = "belongs to another cluster",
        [HAND_UNKNOWN_KEY] = "uses a key that is not among ours",
        [HAND_WRONG_PROOF] = "could not prove that it has the cluster's key",
        [HAND_MALFORMED] = "sent a malformed handshake",
        [HAND_REPEATED] = "repeats what another link has begun with",
    };

    sd_assert((unsigned)why < sizeof(texts) / sizeof(texts[0]));
    return texts[why];
}
