/* seal_cost - what sealing and opening a datagram costs one core.
 *
 *     build/release/bench/seal_cost
 *
 * Nanoseconds of CPU time; the best of five rounds. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "cluster/seal.h"

enum {
    ROUNDS = 5,
    MANY = 20000,
    FEW = SEAL_STRANGERS
};

static struct keys *ring;
static struct seal *from, *to;
static struct buf sealed[MANY];

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct seal *new_seal(unsigned n)
{
    uint8_t salt[SEAL_SALT] = {0};

    memcpy(salt, &n, sizeof(n));
    return seal_new(ring, salt, SEAL_SENDERS);
}

static double wrap_all(size_t len)
{
    static char plain[1400];
    double start = cpu_ns();

    for (unsigned i = 0; i < MANY; i++) {
        buf_truncate(&sealed[i], 0);
        sd_assert(seal_wrap(from, slice_make(plain, len), &sealed[i]) == 0);
    }
    return (cpu_ns() - start) / MANY;
}

static double unwrap_all(unsigned n, uint64_t now, enum seal_verdict wanted)
{
    struct buf out = {0};
    double start = cpu_ns();

    for (unsigned i = 0; i < n; i++) {
        buf_truncate(&out, 0);
        sd_assert(seal_unwrap(to, now, buf_slice(&sealed[i]), &out) == wanted);
    }
    buf_fini(&out);
    return (cpu_ns() - start) / n;
}

static void least(double *best, double ns)
{
    if (*best == 0 || ns < *best)
        *best = ns;
}

static void show_size(size_t len)
{
    double wrap = 0, unwrap = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        wrap_all(len); /* memory is there, caches are warm */
        least(&wrap, wrap_all(len));
        least(&unwrap, unwrap_all(MANY, 0, SEAL_OPENED));
    }
    printf("%4zu bytes: seal %4.0f ns, open %4.0f ns\n", len, wrap, unwrap);
}

/* Strangers: a key has to be derived for each. */
static void show_strangers(void)
{
    double bad = 0, good = 0;
    size_t before;

    wrap_all(100);
    for (unsigned i = 0; i < FEW; i++)
        memset(sealed[i].p + 6, (int)i + 1, SEAL_SALT);
    for (unsigned i = 1; i <= ROUNDS; i++)
        least(&bad, unwrap_all(FEW, i * 1000, SEAL_BAD_TAG));
    for (unsigned i = 0; i < FEW; i++) {
        struct seal *other = new_seal(i + 10);

        buf_truncate(&sealed[i], 0);
        sd_assert(seal_wrap(other, slice_str("hello"), &sealed[i]) == 0);
        seal_free(&other);
    }
    before = mallinfo2().uordblks;
    good = unwrap_all(FEW, 0, SEAL_OPENED);
    printf(
        "strangers: refused %.0f ns, welcomed %.0f ns, then %zu bytes each\n",
        bad, good, (mallinfo2().uordblks - before) / FEW);
}

int main(void)
{
    struct conf_list none = {0};
    const char *why;

    ring = keys_new(slice_str("cost"));
    sd_assert(keys_set(ring, &none, &why) == 0);
    from = new_seal(1);
    to = new_seal(2);
    show_size(100);
    show_size(1400);
    show_strangers();
    seal_free(&from);
    seal_free(&to);
    keys_free(&ring);
    for (unsigned i = 0; i < MANY; i++)
        buf_fini(&sealed[i]);
    return 0;
}
