/* Any bytes as a datagram: never opened, and nothing of them is kept.
 *
 * The first byte says how the rest is used: as a datagram of its own, behind
 * a head that gets past the first looks, or as changes of one that was sealed
 * just now.  After each the true one is opened, once: a window that a bad tag
 * had moved, or a sender pushed out, would show.
 *
 * The key is another one in every run: the fuzzer sees what is compared, and
 * would keep true datagrams for the next. */
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "cluster/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum {
    AS_IT_IS,
    KNOWN_KEY,    /* a salt of its own */
    KNOWN_SENDER, /* a counter of its own */
    CHANGED,
    WAYS
};

static struct keys *ring;
static struct seal *alice, *bob;
static uint64_t now;

static void begin(void)
{
    static const uint8_t salts[2][SEAL_SALT] = {"alice", "bob"};
    uint8_t secret[KEYS_SECRET];
    char text[KEYS_TEXT + 1];
    const char *at[] = {text};
    struct conf_list list = {1, at};
    const char *why;

    sd_assert(getrandom(secret, sizeof(secret), 0) == sizeof(secret));
    keys_write(text, secret);
    ring = keys_new(slice_str("fuzz"));
    sd_assert(keys_set(ring, &list, &why) == 0);
    alice = seal_new(ring, salts[0], 2);
    bob = seal_new(ring, salts[1], 2);
}

/* Pairs of a place and what is turned over there; an odd byte at the end cuts
 * as many off. */
static void change(struct buf *d, struct slice how)
{
    uint8_t *at = (uint8_t *)d->p + d->head;

    for (; how.len >= 2; how = slice_skip(how, 2))
        at[(uint8_t)how.p[0] % d->len] ^= (uint8_t)how.p[1];
    if (how.len == 1)
        buf_truncate(d, d->len - (uint8_t)how.p[0] % d->len);
}

static void make(struct buf *out, unsigned way, struct slice sealed,
                 struct slice rest)
{
    size_t head = way == KNOWN_KEY ? 6 : way == KNOWN_SENDER ? 22 : 0;

    if (way == CHANGED) {
        buf_append(out, sealed.p, sealed.len);
        change(out, rest);
    } else {
        buf_append(out, sealed.p, head);
        buf_append(out, rest.p, rest.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct buf sealed = {0}, hostile = {0}, said = {0};
    static const char word[] = "the true one";

    if (bob == NULL)
        begin();
    if (n == 0)
        return 0;
    now += 1000; /* so that strangers are tried */
    sd_assert(seal_wrap(alice, slice_str(word), &sealed) == 0);
    make(&hostile, p[0] % WAYS, buf_slice(&sealed), slice_make(p + 1, n - 1));
    if (!slice_eq(buf_slice(&hostile), buf_slice(&sealed)))
        sd_assert(seal_unwrap(bob, now, buf_slice(&hostile), &said) !=
                  SEAL_OPENED);
    sd_assert(said.len == 0 && seal_senders(bob) <= 1);
    sd_assert(seal_unwrap(bob, now, buf_slice(&sealed), &said) == SEAL_OPENED);
    sd_assert(slice_is(buf_slice(&said), word));
    sd_assert(seal_unwrap(bob, now, buf_slice(&sealed), &said) ==
              SEAL_REPLAYED);
    buf_fini(&sealed);
    buf_fini(&hostile);
    buf_fini(&said);
    return 0;
}
