/* hub_cost.c - what a relay's part of a message costs, without its links.
 *
 *   hub_cost COUNT UIDS       prints ns a message: routed, and acknowledged;
 *                             taken one by one, and expected (hub_expect())
 *
 * COUNT messages of 64 bytes go in batches of 256, as one read of a busy link
 * has them, to uids picked at random among UIDS that a receiver has told of.
 * With few uids everything is in the CPU's cache; with many the difference is
 * what it costs to find one of them in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cluster/hub.h"

enum {
    SIZE = 64,
    BATCH = 256,
    TYPE = 24 /* a relay does not look at it */
};

/* CPU time, of which others take nothing. */
static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t emitted;
static const struct place sender = {1, 1, 0}, receiver = {2, 1, 0};

static void on_emit(void *arg, void *owner, unsigned type,
                    const struct slice *v, unsigned n)
{
    (void)arg;
    (void)v;
    (void)n;
    emitted += owner != NULL && frames_is_data(type);
}

static struct slice uid_of(char *out, uint32_t i)
{
    return slice_make(out, (size_t)sprintf(out, "player-%u", i));
}

static void tell(struct hub *h, struct hub_link *l, uint32_t i)
{
    char uid[32], bytes[FRAMES_CONTROL_MAX];
    struct frames_locate at = {
        .is_here = true, .is_sole = true, .bind = 1, .uid = uid_of(uid, i)};

    sd_assert(hub_take(h, l, FRAMES_LOCATE,
                       slice_make(bytes, frames_write_locate(bytes, &at)),
                       0) == 0);
}

static uint32_t at_random(void)
{
    static uint64_t x = 88172645463325252u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 16);
}

/* A frame to somebody, behind what is in `out`; its length. */
static size_t write_frame(char *out, uint32_t uids)
{
    static uint64_t counter;
    static const char body[SIZE];
    char uid[32];
    struct frames_data d = {.type = FRAMES_UID,
                            .order = {.term = 1},
                            .name = uid_of(uid, at_random() % uids)};
    struct wire_head head = {.boot = sender.boot,
                             .counter = ++counter,
                             .life_ms = 10000,
                             .len = SIZE,
                             .type = TYPE,
                             .epoch = sender.epoch,
                             .slot = sender.slot};
    size_t n = frames_write_head(out, &d);

    wire_encode(out + n, &head);
    memcpy(out + n + WIRE_HEAD, body, SIZE);
    return n + WIRE_HEAD + SIZE;
}

struct batch {
    struct stream_frame frame[BATCH];
    char bytes[BATCH * (FRAMES_HEAD_MAX + WIRE_HEAD + SIZE)];
};

static void fill(struct batch *b, uint32_t uids)
{
    char *p = b->bytes;

    for (unsigned i = 0; i < BATCH; i++) {
        b->frame[i] = (struct stream_frame){
            .payload = slice_make(p, write_frame(p, uids)), .type = FRAMES_UID};
        p += b->frame[i].payload.len;
    }
}

static void acknowledge(struct hub *h, struct hub_link *l, uint64_t first)
{
    struct frames_range r = {first, BATCH};
    char bytes[FRAMES_ACK_SIZE];

    sd_assert(hub_take(h, l, FRAMES_ACK,
                       slice_make(bytes, frames_write_ack(bytes, &r)), 0) == 0);
    hub_turn(h);
}

/* ns for all of them, the making of frames not counted. */
static uint64_t run(struct hub *h, struct hub_link *from, struct hub_link *to,
                    uint64_t batches, uint32_t uids, bool expects)
{
    static struct batch b;
    uint64_t spent = 0, begun, n;

    for (n = 0; n < batches; n++) {
        fill(&b, uids);
        begun = cpu_ns();
        for (unsigned i = 0; i < BATCH; i++) {
            if (expects && i % HUB_EXPECT == 0)
                hub_expect(h, b.frame + i, HUB_EXPECT);
            sd_assert(hub_take(h, from, FRAMES_UID, b.frame[i].payload, 0) ==
                      0);
        }
        acknowledge(h, to, emitted - BATCH + 1);
        spent += cpu_ns() - begun;
    }
    return spent;
}

int main(int argc, char **argv)
{
    uint64_t batches = argc == 3 ? strtoull(argv[1], NULL, 10) / BATCH : 0;
    uint32_t uids = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0, i;
    struct hub_calls calls = {.emit = on_emit};
    struct hash_key key = {1, 2};
    struct hub_link *from, *to;
    struct hub *h;

    if (batches == 0 || uids == 0) {
        fprintf(stderr, "usage: hub_cost COUNT UIDS\n");
        return 2;
    }
    h = hub_new(&calls, &(struct hub_limits){0}, &key);
    to = hub_open(h, &calls, &receiver);
    from = hub_open(h, &calls, &sender);
    for (i = 0; i < uids; i++)
        tell(h, to, i);
    for (int expects = 0; expects <= 1; expects++) {
        uint64_t before = emitted, spent;

        spent = run(h, from, to, batches, uids, expects);
        sd_assert(emitted == before + batches * BATCH);
        printf("%u uids, %s: %.0f ns a message\n", uids,
               expects ? "expected" : "one by one",
               (double)spent / (double)(emitted - before));
    }
    sd_assert(hub_figures(h)->acked == emitted);
    hub_free(&h);
    return 0;
}
