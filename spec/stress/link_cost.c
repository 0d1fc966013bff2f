/* link_cost.c - what a link costs: nanoseconds per frame, and per handshake.
 *
 *   link_cost [milliseconds per row]
 *
 * Per row: frames of one size are written to a stream, sealed after each
 * batch, fed to the other side record by record and read.  CPU time of this
 * thread; the best of five runs, since others use the machine, too. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "cluster/hand.h"
#include "cluster/stream.h"

enum {
    RUNS = 5,
    CHUNK = 64 * 1024, /* between two looks at the clock */
};

static char payload[STREAM_RECORD_MAX];

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct row {
    size_t size;    /* of a frame's payload */
    unsigned batch; /* frames per record */
    bool encrypted;
};

struct cost {
    double write, read; /* ns per frame */
};

/* As many batches as make about 64 KiB, through both streams, the time added
 * to *c; how many frames that were. */
static unsigned pass(struct stream *from, struct stream *to, struct buf *out,
                     const struct row *r, struct cost *c)
{
    struct slice v = slice_make(payload, r->size);
    unsigned n = CHUNK / (unsigned)r->size / r->batch, got = 0, i, k;
    struct stream_frame f;
    double t0, t1;
    size_t size;

    n = n > 0 ? n : 1;
    buf_truncate(out, 0);
    t0 = cpu_ns();
    for (k = 0; k < n; k++) {
        for (i = 0; i < r->batch; i++)
            sd_assert(stream_write(from, out, 1, &v, 1) == 0);
        stream_seal(from, out);
    }
    t1 = cpu_ns();
    size = out->len / n;
    for (k = 0; k < n; k++) {
        stream_feed(to, slice_make(out->p + k * size, size));
        while (stream_next(to, &f) == 1)
            got++;
    }
    c->read += cpu_ns() - t1;
    c->write += t1 - t0;
    sd_assert(got == n * r->batch && f.payload.len == r->size);
    return got;
}

static struct cost measure(const struct row *r, double budget_ns)
{
    static const unsigned char a[STREAM_KEY] = "a", b[STREAM_KEY] = "b";
    struct stream *from =
        stream_create(r->encrypted ? a : NULL, r->encrypted ? b : NULL);
    struct stream *to =
        stream_create(r->encrypted ? b : NULL, r->encrypted ? a : NULL);
    struct cost best = {1e9, 1e9};
    struct buf out = {0};
    int run;

    for (run = 0; run < RUNS; run++) {
        struct cost c = {0};
        double frames = 0, end = cpu_ns() + budget_ns / RUNS;

        while (cpu_ns() < end)
            frames += pass(from, to, &out, r, &c);
        if (c.write / frames < best.write)
            best.write = c.write / frames;
        if (c.read / frames < best.read)
            best.read = c.read / frames;
    }
    buf_fini(&out);
    stream_free(&from);
    stream_free(&to);
    return best;
}

/* --- the handshake ------------------------------------------------------- */

static struct hand *begin(enum hand_role role, struct buf *out)
{
    static const struct hand_key key = {{1}, {2}};
    struct hand_conf conf = {
        .keys = &key, .nkeys = 1, .identity = slice_make(payload, 200)};
    unsigned char entropy[HAND_ENTROPY];
    size_t i;

    for (i = 0; i < sizeof(entropy); i++)
        entropy[i] = (unsigned char)rand();
    return hand_create(role, &conf, entropy, out);
}

/* What `from` said goes to `to`; the CPU time of that. */
static double hear(struct hand *to, struct buf *from, struct buf *out)
{
    double t0 = cpu_ns();
    int n = hand_feed(to, buf_slice(from), out);

    sd_assert(n == (int)from->len);
    buf_truncate(from, 0);
    return cpu_ns() - t0;
}

static void handshakes(int n)
{
    struct buf up = {0}, down = {0};
    double worker = 0, relay = 0, stranger = 0, t0;
    int i;

    for (i = 0; i < n; i++) {
        struct hand *w, *r, *s;

        t0 = cpu_ns();
        w = begin(HAND_WORKER, &up);
        worker += cpu_ns() - t0;
        t0 = cpu_ns();
        r = begin(HAND_RELAY, &down);
        relay += cpu_ns() - t0;

        /* A guess at the check, which is all that a stranger can make. */
        s = begin(HAND_RELAY, &down);
        up.p[HAND_HELLO - 1] ^= 1;
        t0 = cpu_ns();
        sd_assert(hand_feed(s, buf_slice(&up), &down) < 0 && down.len == 0);
        stranger += cpu_ns() - t0;
        up.p[HAND_HELLO - 1] ^= 1;

        relay += hear(r, &up, &down);
        worker += hear(w, &down, &up);
        relay += hear(r, &up, &down);
        worker += hear(w, &down, &up);
        sd_assert(hand_session(w) != NULL && hand_session(r) != NULL);
        hand_free(&w);
        hand_free(&r);
        hand_free(&s);
    }
    printf("handshake, µs of CPU: worker %.0f, relay %.0f, "
           "refusing a stranger %.1f\n",
           worker / n / 1e3, relay / n / 1e3, stranger / n / 1e3);
    buf_fini(&up);
    buf_fini(&down);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {64, 1024};
    static const unsigned batches[] = {1, 16, 256};
    double ms = argc > 1 ? atof(argv[1]) : 500;
    struct row r;
    size_t i, k;
    int e;

    printf("ns of CPU per frame\n%8s %6s %10s %8s %8s\n", "payload", "batch",
           "", "write", "read");
    for (e = 0; e < 2; e++) {
        for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (k = 0; k < sizeof(batches) / sizeof(batches[0]); k++) {
                struct cost c;

                r = (struct row){sizes[i], batches[k], e == 1};
                c = measure(&r, ms * 1e6);
                printf("%8zu %6u %10s %8.1f %8.1f\n", r.size, r.batch,
                       r.encrypted ? "encrypted" : "plain", c.write, c.read);
            }
        }
    }
    handshakes(ms > 100 ? 1000 : 100);
    return 0;
}
