/* delivery.c - any frames from a relay into an outbox and an inbox that live.
 *
 * Commands: what 1, then a payload with its length before it. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/err.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct outbox *o;
static struct inbox *in;
static struct outbox_link *out_link;
static struct inbox_link *in_link;
static uint8_t ended; /* slots, as members say: a mask */
static uint64_t now, counter, open_tokens[256];
static unsigned pending, accepted, settled;

static void emit(void *arg, void *relay, unsigned type, const struct slice *v,
                 unsigned n)
{
    (void)arg;
    (void)relay;
    (void)v;
    sd_assert(type > 0 && type < FRAMES_END && n > 0);
}

static void resolve(void *arg, const struct slice *uid)
{
    (void)arg;
    sd_assert(uid->len > 0);
}

static void on_settled(void *arg, uint64_t token, int outcome)
{
    (void)arg;
    (void)token;
    sd_assert(outcome <= 0);
    settled++;
}

static bool has(void *arg, const struct slice *uid)
{
    (void)arg;
    return uid->p[0] != 'x';
}

static int deliver(void *arg, const struct frames_data *d, uint64_t token)
{
    (void)arg;
    if (d->body.len % 4 == 1 && pending < 256) {
        open_tokens[pending++] = token;
        return INBOX_LATER;
    }
    return d->body.len % 4 == 2 ? SD_EOFFLINE : 0;
}

static bool lives(void *arg, const struct place *place)
{
    (void)arg;
    return (ended >> place->slot % 8 & 1) == 0;
}

static void reopen(void)
{
    if (out_link != NULL) {
        outbox_close(o, out_link, now);
        inbox_close(in, in_link);
    }
    out_link = outbox_open(o, NULL, 1, now);
    in_link = inbox_open(in, NULL);
}

static void send(uint8_t what)
{
    struct wire_head head = {.counter = ++counter, .life_ms = 1 + what};
    struct outbox_to to = {.type = 1 + what % 3,
                           .kind = FRAMES_TOPIC,
                           .place = {1, 1, what % 4},
                           .name = {"ab", 1 + what % 2}};
    struct slice body = {"body", what % 4};
    struct outbox_mail mail = {&head, &body, 1, counter};

    accepted += outbox_send(o, &to, &mail, now) == 0;
}

static void locate(uint8_t what)
{
    struct frames_spot spot = {{1, 1, what % 4}, what};
    struct outbox_places at = {what % 3, what % 2 == 0, what / 16 % 2, &spot};

    outbox_resolved(o, slice_make("ab", 1 + what % 2), &at, now);
}

static void act(uint8_t what, struct slice p)
{
    uint8_t byte = p.len > 0 ? (uint8_t)p.p[0] : 0;
    int rc = 0;

    if (what < 170)
        rc = frames_is_data(what % 32)
                 ? inbox_take(in, in_link, what % 32, p, what / 32, now)
                 : outbox_take(o, out_link, what % 32, p, now);
    else if (what < 200)
        send(byte);
    else if (what < 210)
        locate(byte);
    else if (what < 220 && pending > 0)
        inbox_settle(in, open_tokens[--pending], 0);
    else if (what < 230)
        inbox_turn(in);
    else if (what < 240)
        ended = byte;
    else if (what < 250)
        now += byte;
    else
        reopen();
    sd_assert(rc == 0 || rc == SD_EPROTO);
    if (rc < 0)
        reopen();
    outbox_tick(o, now);
    inbox_tick(in, now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outbox_calls out = {NULL, emit, resolve, on_settled, lives};
    struct inbox_calls calls = {NULL, emit, has, deliver};
    struct outbox_limits most = {.window_count = 4, .count = 16, .held = 2};
    struct inbox_limits seen = {.seen = 8, .sources = 3};
    struct hash_key key = {1, 2};

    now = counter = 0;
    pending = accepted = settled = 0;
    ended = 0;
    out_link = NULL;
    o = outbox_new(&out, &most, &key, 1);
    in = inbox_new(&calls, &seen);
    reopen();
    while (size >= 2) {
        size_t n = data[1] < size - 2 ? data[1] : size - 2;

        act(data[0], slice_make(data + 2, n));
        data += 2 + n;
        size -= 2 + n;
    }
    now += 2 * OUTBOX_LIFE_MAX; /* every life is over */
    outbox_tick(o, now);
    sd_assert(settled == accepted);
    outbox_close(o, out_link, now);
    sd_assert(outbox_figures(o)->count == 0 && outbox_figures(o)->lanes == 0);
    outbox_free(&o);
    inbox_free(&in);
    return 0;
}
