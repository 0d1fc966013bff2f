/* hand.c - hostile bytes against both sides of the handshake of a link.
 *
 * The first byte chooses the side and who is there, the second the chunks.
 * Keys and entropy are fixed, so there is exactly one right conversation: a
 * handshake is through if it was that one, byte by byte, and at no other
 * time.  An insider has the key: the check behind a question is made for him,
 * whatever he says in front. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "cluster/hand.h"

enum {
    RELAY = 1, /* bits of the first byte */
    PLAIN = 2,
    INSIDER = 4,
    CONTROL = 2,
    CHECKED = HAND_HELLO - 32, /* bytes that a question's check covers */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The right conversation, what the worker says and what the relay says. */
static struct {
    bool made;
    struct buf worker, relay;
} right[2];

static struct hand *start(enum hand_role role, bool plain, struct buf *out)
{
    struct hand_key keys[2] = {{"wxyz", "z"}, {"abcd", "k"}};
    struct hand_conf conf = {.keys = keys, .nkeys = 2, .plain = plain};
    unsigned char entropy[HAND_ENTROPY];
    bool relay = role == HAND_RELAY;
    size_t i;

    for (i = 0; i < sizeof(entropy); i++)
        entropy[i] = (unsigned char)(i + (relay ? sizeof(entropy) : 0));
    if (!relay)
        conf.keys++, conf.nkeys--;
    memcpy(conf.cluster, "cluster1", sizeof(conf.cluster));
    conf.identity = slice_str(relay ? "relay" : "worker");
    return hand_create(role, &conf, entropy, out);
}

static void converse(bool plain)
{
    struct buf *up = &right[plain].worker, *down = &right[plain].relay;
    struct hand *w = start(HAND_WORKER, plain, up);
    struct hand *r = start(HAND_RELAY, plain, down);
    size_t said = 0, heard = 0;
    int i, n;

    for (i = 0; i < 2; i++) {
        n = hand_feed(r, slice_skip(buf_slice(up), said), down);
        sd_assert(n > 0);
        said += (size_t)n;
        n = hand_feed(w, slice_skip(buf_slice(down), heard), up);
        sd_assert(n > 0);
        heard += (size_t)n;
    }
    sd_assert(hand_session(w) != NULL && hand_session(r) != NULL);
    hand_free(&w);
    hand_free(&r);
    right[plain].made = true;
}

/* Feed `in`, `step` bytes at a time; the verdict and all that was said. */
static enum hand_why run(uint8_t mode, struct slice in, size_t step,
                         struct buf *said)
{
    enum hand_role role = (mode & RELAY) != 0 ? HAND_RELAY : HAND_WORKER;
    bool plain = (mode & PLAIN) != 0;
    struct buf *honest =
        role == HAND_RELAY ? &right[plain].worker : &right[plain].relay;
    struct slice rest = in;
    enum hand_why why;
    struct hand *h;
    bool same;
    int n = 0;

    h = start(role, plain, said);
    while (rest.len > 0 && hand_session(h) == NULL && n >= 0) {
        n = hand_feed(h, slice_make(rest.p, rest.len < step ? rest.len : step),
                      said);
        if (n > 0)
            rest = slice_skip(rest, (size_t)n);
    }
    same = in.len >= honest->len &&
           slice_eq(slice_make(in.p, honest->len), buf_slice(honest));
    sd_assert((hand_session(h) != NULL) == same);
    sd_assert(!same || in.len - rest.len == honest->len);
    sd_assert(in.len - rest.len <= HAND_TAKE_MAX);
    sd_assert((n < 0) == (hand_why(h) != HAND_FINE));
    sd_assert(hand_why_text(hand_why(h)) != NULL);
    if (n < 0)
        sd_assert(hand_feed(h, rest, said) == SD_EPROTO);
    if (role == HAND_RELAY && !same)
        sd_assert(said->len == 0 || said->len == HAND_HELLO);
    why = hand_why(h);
    hand_free(&h);
    return why;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf in = {0}, whole = {0}, cut = {0};
    enum hand_why why;
    bool plain;

    if (size < CONTROL)
        return 0;
    plain = (data[0] & PLAIN) != 0;
    if (!right[plain].made)
        converse(plain);
    buf_append(&in, data + CONTROL, size - CONTROL);
    if ((data[0] & INSIDER) != 0 && in.len >= HAND_HELLO)
        terms_check((unsigned char *)in.p + CHECKED,
                    (const unsigned char[HAND_KEY]){"k"},
                    slice_make(in.p, CHECKED));
    why = run(data[0], buf_slice(&in), size, &whole);
    sd_assert(run(data[0], buf_slice(&in), data[1] + 1u, &cut) == why);
    sd_assert(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_fini(&in);
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
